//! The tasks that come with Espalier.

/// Declares the tasks from the names of their files.
macro_rules! tasks {
    ($($name:literal),*) => {
        /// Their names.
        pub(super) const NAMES: [&str; [$($name),*].len()] = [$($name),*];

        /// The definition of this name; empty where there is none.
        pub(super) fn text(name: &str) -> &'static str {
            match name {
                $( $name => include_str!(concat!("../../tasks/", $name, ".toml")), )*
                _ => "",
            }
        }
    };
}

/// Where the hub's data set of a shipped task has its rows: the configuration, or a file. None where it has one configuration.
pub(super) fn hub_config(name: &str) -> Option<&'static str> {
    Some(match name {
        "arc_challenge" => "ARC-Challenge",
        "arc_easy" => "ARC-Easy",
        "boolq" => "boolq",
        "gsm8k" | "openbookqa" => "main",
        // Beside its translations.
        "lambada" => "lambada_test.jsonl",
        "mmlu" => "all",
        "rte" => "rte",
        "winogrande" => "winogrande_xl",
        _ => return None,
    })
}

tasks!(
    "arc_challenge",
    "arc_easy",
    "boolq",
    "gsm8k",
    "hellaswag",
    "lambada",
    "mmlu",
    "openbookqa",
    "piqa",
    "rte",
    "winogrande"
);

#[cfg(test)]
mod tests {
    use super::super::{DefinitionName, TaskDefinition};

    #[test]
    fn all_are_definitions() {
        for name in super::NAMES {
            let found = DefinitionName::of(name).unwrap();
            let definition = TaskDefinition::open(&found).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(definition.name, name);
        }
        assert_eq!(DefinitionName::of("arc"), None);
        assert_eq!(DefinitionName::of("my/arc.toml"), Some(DefinitionName::File("my/arc.toml".into())));
    }
}
