//! `export_plugin!`, and what it collects.

use crate::{Error, Method, MethodInfo, Options, Result, Selector, SelectorInfo};
use serde::{Deserialize, Serialize};

/// The description of a library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LibraryInfo {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
    /// The pruning methods it offers.
    #[serde(default)]
    pub methods: Vec<MethodInfo>,
    /// The selectors it offers.
    #[serde(default)]
    pub selectors: Vec<SelectorInfo>,
}

type Make<T> = fn(&Options) -> Result<Box<T>>;

/// The methods and selectors of a library; made by [`export_plugin!`](crate::export_plugin).
#[derive(Debug)]
pub struct Registry {
    info: LibraryInfo,
    methods: Vec<Make<dyn Method>>,
    selectors: Vec<Make<dyn Selector>>,
}

impl Registry {
    /// An empty library.
    pub fn new(name: &str, version: &str) -> Self {
        let info = LibraryInfo {
            name: name.to_owned(),
            version: version.to_owned(),
            methods: Vec::new(),
            selectors: Vec::new(),
        };
        Self { info, methods: Vec::new(), selectors: Vec::new() }
    }

    /// Adds a method.
    #[must_use]
    pub fn method<M: Method>(mut self) -> Self {
        self.info.methods.push(M::info());
        self.methods.push(|options| Ok(Box::new(M::new(options)?)));
        self
    }

    /// Adds a selector.
    #[must_use]
    pub fn selector<S: Selector>(mut self) -> Self {
        self.info.selectors.push(S::info());
        self.selectors.push(|options| Ok(Box::new(S::new(options)?)));
        self
    }

    /// The library's description.
    pub fn info(&self) -> &LibraryInfo {
        &self.info
    }

    /// An instance of the method of this name.
    ///
    /// # Errors
    /// It does not exist, or it refuses the options.
    pub fn new_method(&self, name: &str, options: &Options) -> Result<Box<dyn Method>> {
        let at = self.info.methods.iter().position(|info| info.name == name);
        self.methods[at.ok_or_else(|| self.missing("method", name))?](options)
    }

    /// An instance of the selector of this name.
    ///
    /// # Errors
    /// It does not exist, or it refuses the options.
    pub fn new_selector(&self, name: &str, options: &Options) -> Result<Box<dyn Selector>> {
        let at = self.info.selectors.iter().position(|info| info.name == name);
        self.selectors[at.ok_or_else(|| self.missing("selector", name))?](options)
    }

    fn missing(&self, what: &str, name: &str) -> Error {
        Error::invalid(format!("the library {} has no {what} named `{name}`", self.info.name))
    }
}

/// Makes the crate an Espalier plugin that offers these types:
/// `export_plugin! { methods: [Wanda], selectors: [Random] }`. Either list may be left out. The crate must
/// be a `cdylib`.
#[macro_export]
macro_rules! export_plugin {
    ( $( methods: [ $( $method:ty ),* $(,)? ] )? $(,)? $( selectors: [ $( $selector:ty ),* $(,)? ] )? $(,)? ) => {
        /// This crate, as an Espalier plugin.
        struct EspalierPlugin;

        impl $crate::abi::Plugin for EspalierPlugin {
            fn registry() -> $crate::Registry {
                $crate::Registry::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
                    $( $( .method::<$method>() )* )?
                    $( $( .selector::<$selector>() )* )?
            }
        }

        #[unsafe(no_mangle)]
        extern "C" fn espalier_plugin_interface() -> u32 {
            $crate::abi::interface_word($crate::INTERFACE_VERSION)
        }

        // The name that abi_stable looks a library's header up by; `abi::tests` checks it.
        #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
        static ESPALIER_PLUGIN_HEADER: $crate::abi::LibHeader = $crate::abi::header::<EspalierPlugin>();
    };
}
