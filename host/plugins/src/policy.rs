//! How this process opens plugin libraries: said once, by the command line, before the first is opened.

use std::{fmt, str::FromStr, sync::OnceLock, time::Duration};

/// Which libraries' methods run in a process of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolate {
    /// Those of libraries that are not beside the binary, where the system can.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

impl FromStr for Isolate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("write auto, always or never".to_owned()),
        }
    }
}

impl fmt::Display for Isolate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// How plugin libraries are opened.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Which run in a process of their own.
    pub isolate: Isolate,
    /// How long a plugin's process may say nothing.
    pub patience: Duration,
    /// Whether only libraries are opened that are beside the binary or on the user's list.
    pub trusted_only: bool,
}

/// The default: programs that use this library open plugins in their own process.
impl Default for Policy {
    fn default() -> Self {
        Self { isolate: Isolate::Never, patience: Duration::from_secs(600), trusted_only: false }
    }
}

static POLICY: OnceLock<Policy> = OnceLock::new();

/// Says how libraries are opened from now on. Only the first time counts.
pub fn set_policy(policy: Policy) {
    let _ = POLICY.set(policy);
}

pub(super) fn policy() -> Policy {
    POLICY.get().copied().unwrap_or_default()
}
