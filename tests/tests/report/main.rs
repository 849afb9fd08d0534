//! The report in a real browser: that it stands up at the widths of a telephone and of a desk, light, dark
//! and on paper, by keyboard, and without its script.
//!
//! The browser is `ESPALIER_CHROMIUM`, or a Chromium on the `PATH`. Without one, nothing here can be
//! checked, which is said aloud, and is a failure where `ESPALIER_REQUIRE` names `browser`.

mod browser;
mod example;

use browser::Browser;
use espalier_host::study::report::{Report, render};
use serde_json::{Value, json};
use std::{env, fs, path::Path, process::ExitCode};

const CHECK: &str = include_str!("check.js");

/// A check and its name.
type Check = (&'static str, fn(&mut Browser, &Path));

const CHECKS: [Check; 7] = [
    ("faults are found where there are some", faults),
    ("the page stands at every width, light and dark", stands),
    ("the page stands on paper", paper),
    ("everything interactive is reached by keyboard", keyboard),
    ("filters show what they are asked for", filters),
    ("a link opens the box of its cell", links),
    ("the page is readable without its script", without_script),
];

fn main() -> ExitCode {
    // The arguments are libtest's: a filter by name, or flags, of which only a listing matters here.
    let arguments: Vec<_> = env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted = CHECKS.iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str())));
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return ExitCode::SUCCESS;
    }
    let Some(program) = browser::find() else {
        println!(
            "NOT CHECKED: the report in a browser. No Chromium is installed, and ESPALIER_CHROMIUM names none."
        );
        let required = env::var("ESPALIER_REQUIRE").unwrap_or_default();
        let required = required.split_whitespace().any(|needed| needed == "browser");
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let folder = tempfile::tempdir().expect("a folder for the page");
    let page = folder.path().join("report.html");
    fs::write(&page, render(&example::report()).expect("the templates fit")).expect("the page is written");
    let mut browser = Browser::start(&program);
    for (name, check) in &wanted {
        check(&mut browser, &page);
        println!("test {name} ... ok");
    }
    empty_report(&mut browser, folder.path());
    println!("test a report without results stands as well ... ok");
    println!("test result: ok. {} passed in {}", wanted.len() + 1, program.display());
    ExitCode::SUCCESS
}

/// The page as it stands has nothing to trip over, and did nothing it should not.
fn assert_good(browser: &mut Browser, what: &str) {
    let findings = browser.evaluate(CHECK);
    assert_eq!(findings, json!([]), "{what}");
    assert_eq!(browser.complaints(), Vec::<&Value>::new(), "{what}");
}

fn faults(browser: &mut Browser, page: &Path) {
    let faults = [
        ("text over text", "document.querySelector('h1').style.marginBottom = '-2rem'"),
        (
            "text over text",
            "document.querySelectorAll('.chart text').forEach(one => one.setAttribute('y', 9))",
        ),
        ("the page is too wide", "document.querySelector('h1').style.width = '2000px'"),
        (
            "a heading skips a level",
            "document.querySelector('h1').insertAdjacentHTML('afterend', '<h4>4</h4>')",
        ),
        ("an id is used twice", "document.querySelector('h1').id = 'main'"),
        ("a link to nothing", "document.querySelector('.cell').remove()"),
        (
            "a control without a label",
            "document.querySelector('label').replaceWith(document.querySelector('select'))",
        ),
        ("foreign elements", "document.body.append(document.createElement('img'))"),
    ];
    for (fault, cause) in faults {
        browser.open(page, 1000, "light");
        browser.evaluate(&format!("{{ {cause} }}"));
        let findings = browser.evaluate(CHECK);
        let found = findings
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one.as_str().is_some_and(|one| one.starts_with(fault))));
        assert!(found, "{fault} is not among {findings}");
    }
    browser.evaluate("console.error('wrong'); fetch('http://127.0.0.1:9/').catch(() => {})");
    assert!(browser.complaints().len() >= 2, "{:?}", browser.complaints());
}

fn stands(browser: &mut Browser, page: &Path) {
    for scheme in ["light", "dark"] {
        for width in [400, 1000, 1600] {
            let what = format!("{scheme} at {width} px");
            browser.open(page, width, scheme);
            assert_good(browser, &what);
            let dark = "getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128";
            assert_eq!(browser.evaluate(dark), json!(scheme == "dark"), "{what}");
            browser.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true; })");
            assert_good(browser, &format!("{what}, every box open"));
        }
    }
}

fn paper(browser: &mut Browser, page: &Path) {
    // A4 within its margins, at 96 pixels an inch.
    browser.open(page, 688, "light");
    browser.media("print", "light");
    assert_good(browser, "on paper");
    let boxes = "Array.from(document.querySelectorAll('.cell pre')).every(pre => pre.checkVisibility())";
    assert_eq!(browser.evaluate(boxes), json!(true), "commands are printed");
    let hidden = "Array.from(document.querySelectorAll('form, button')).some(one => one.checkVisibility())";
    assert_eq!(browser.evaluate(hidden), json!(false), "paper has no buttons");
}

fn keyboard(browser: &mut Browser, page: &Path) {
    browser.open(page, 1000, "light");
    let controls = "window.unreached = new Set(Array.from(document.querySelectorAll('a[href], button, select, input, \
                    summary, [tabindex=\"0\"]')).filter(one => one.checkVisibility())); window.unmarked = [];";
    let count = browser.evaluate(&format!("{controls} window.unreached.size")).as_u64().expect("a number");
    assert!(count > 100, "only {count} controls");
    for _ in 0..=count {
        browser.press("Tab", 9);
        browser.evaluate(
            "{ const one = document.activeElement; unreached.delete(one); if (one !== document.body && \
             getComputedStyle(one).outlineStyle === 'none') unmarked.push(one.outerHTML); }",
        );
    }
    assert_eq!(
        browser.evaluate("Array.from(unreached, one => one.outerHTML)"),
        json!([]),
        "unreached by Tab"
    );
    assert_eq!(browser.evaluate("unmarked"), json!([]), "focus cannot be seen");
}

/// The number of elements of a selector that are visible.
fn visible(browser: &mut Browser, selector: &str) -> u64 {
    let count = format!(
        "Array.from(document.querySelectorAll({selector:?})).filter(one => one.checkVisibility()).length"
    );
    browser.evaluate(&count).as_u64().expect("a number")
}

/// Sets a control of a form, as its user would.
fn choose(browser: &mut Browser, form: &str, control: &str, value: &str) {
    browser.evaluate(&format!(
        "{{ const one = document.getElementById({form:?}).elements[{control:?}]; one.value = {value:?}; \
         one.dispatchEvent(new Event('input', {{bubbles: true}})); one.dispatchEvent(new Event('change', {{bubbles: \
         true}})); }}"
    ));
}

fn filters(browser: &mut Browser, page: &Path) {
    browser.open(page, 1000, "light");
    let panels = visible(browser, ".panel");
    choose(browser, "figure-filter", "metric", "f1");
    choose(browser, "figure-filter", "sparsity", "0.5");
    assert!(visible(browser, ".panel") < panels / 2);
    assert_eq!(visible(browser, ".panel[data-metric=exact_match], [data-sparsity='0.7']"), 0);
    assert_eq!(visible(browser, "#dense .panel[data-metric=f1]"), 2);
    assert_good(browser, "filtered");
    choose(browser, "figure-filter", "metric", "");
    choose(browser, "figure-filter", "sparsity", "");
    assert_eq!(visible(browser, ".panel"), panels);

    let all = visible(browser, ".prediction");
    assert_eq!(all, 5);
    choose(browser, "prediction-filter", "text", "CAPITAL OF");
    assert_eq!(visible(browser, ".prediction"), 1);
    choose(browser, "prediction-filter", "text", "");
    choose(browser, "prediction-filter", "change", "worse");
    let worse = visible(browser, ".output");
    assert_eq!(visible(browser, ".output[data-change=worse]"), worse);
    assert!(worse > 0);
    choose(browser, "prediction-filter", "variant", "Wanda-C4 70%");
    assert_eq!(visible(browser, ".output"), visible(browser, ".output[data-variant='Wanda-C4 70%']"));
    let count = browser.evaluate("document.querySelector('.count').textContent");
    assert_eq!(count, json!(format!("{} of 5 shown", visible(browser, ".prediction"))));
}

fn links(browser: &mut Browser, page: &Path) {
    browser.open(page, 1000, "light");
    assert_eq!(visible(browser, ".cell.failed pre"), 0);
    browser.evaluate("document.querySelector('.scores a.failed').click()");
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
    assert_eq!(visible(browser, ".cell.failed pre"), 2, "the command and the error");
    let error = browser.evaluate("document.querySelector('.cell.failed pre[aria-label=Error]').textContent");
    assert!(
        error.as_str().is_some_and(|error| error.contains("not positive definite <damped 1e-1>")),
        "{error}"
    );
}

fn without_script(browser: &mut Browser, page: &Path) {
    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    browser.open(page, 1000, "light");
    assert_good(browser, "without its script");
    assert_eq!(visible(browser, "form, button"), 0, "nothing that does not work");
    assert_eq!(visible(browser, ".prediction"), 5);
    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": false}));
}

/// Before anything has run there is no dense score, no difference and no prediction.
fn empty_report(browser: &mut Browser, folder: &Path) {
    let full = example::report();
    let mut cells = full.cells;
    for cell in &mut cells {
        cell.state = Default::default();
        cell.scores.clear();
        cell.layers.clear();
    }
    let report = Report {
        cells,
        differences: Vec::new(),
        gains: Vec::new(),
        contrasts: Vec::new(),
        predictions: Vec::new(),
        ..full
    };
    let page = folder.join("empty.html");
    fs::write(&page, render(&report).expect("the templates fit")).expect("the page is written");
    browser.open(&page, 400, "light");
    assert_good(browser, "without results");
}
