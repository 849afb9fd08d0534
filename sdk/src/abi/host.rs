//! The host at the border, as a working method calls it.

use super::{
    AbiResult, guard,
    json::{from_json, to_json},
    plain,
};
use crate::{
    Result,
    message::{HostCall, HostReply, HostService, parse_call},
};
use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, RStr, RString},
};

/// [`HostService`] with a stable layout. Calls and answers are JSON, so that a new function changes nothing here.
#[sabi_trait]
pub trait HostAbi: Send + Sync {
    #[sabi(last_prefix_field)]
    fn call(&self, call: RStr<'_>) -> AbiResult<RString>;
}

/// The host as it crosses the border, for the length of a call.
pub type HostBox<'a> = HostAbi_TO<'a, RBox<()>>;

/// Packs the host for a plugin.
pub(super) fn pack(service: &dyn HostService) -> HostBox<'_> {
    HostAbi_TO::from_value(ExportedHost(service), TD_Opaque)
}

struct ExportedHost<'a>(&'a dyn HostService);

impl HostAbi for ExportedHost<'_> {
    fn call(&self, call: RStr<'_>) -> AbiResult<RString> {
        guard(|| Ok(to_json(&self.0.call(parse_call(call.as_str())?)?)?.into()))
    }
}

/// The plugin's end.
pub(super) struct ImportedHost<'a>(pub(super) HostBox<'a>);

impl HostService for ImportedHost<'_> {
    fn call(&self, call: HostCall) -> Result<HostReply> {
        from_json(&plain(self.0.call(to_json(&call)?.as_str().into()))?)
    }
}
