//! `host verify`.

use super::{CliError, args, print, print_json, table};
use espalier_device::choose;
use espalier_prune::verify::{CheckOutcome, verify};

pub(super) fn run(command: &args::Verify) -> Result<(), CliError> {
    let device = || choose::open(&command.device.request());
    let checks = verify(&command.folder, command.model.as_deref(), device)?;
    let failed = checks.iter().filter(|check| check.outcome == CheckOutcome::Failed).count();
    if command.json {
        print_json(&serde_json::json!({ "failed": failed, "checks": checks }))?;
    } else {
        let row = |check: &espalier_prune::verify::Check| {
            let outcome = match check.outcome {
                CheckOutcome::Ok => "ok",
                CheckOutcome::Failed => "FAILED",
                CheckOutcome::NotDone => "not done",
            };
            vec![check.check.to_owned(), outcome.to_owned(), check.detail.clone()]
        };
        print(&table::render(&["check", "", "what was found"], &checks.iter().map(row).collect::<Vec<_>>()))?;
    }
    let folder = command.folder.display();
    if failed == 0 {
        Ok(())
    } else {
        Err(CliError::Failed(format!("{folder} fails {failed} of {} checks", checks.len())))
    }
}
