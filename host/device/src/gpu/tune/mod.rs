//! Which kernel and tile a product is computed with: what is fastest on the adapter at hand.
//!
//! Products are put into classes by what is multiplied and how large it is. The first product of a class has the
//! candidates timed on made-up operands of its size, and the pick is kept in a file. Which tile is taken never shows in
//! a result: no kernel here lets its tile change the order in which products are added up, and a candidate whose result
//! is not the plain kernel's bit for bit is refused.
//!
//! The kernel of subgroups adds up in another order. It is not timed: every product of few tokens takes it on an
//! adapter where it agrees with the plain one, so that the same product has the same result every time.
//!
//! The kernel of small matrices does, too, but is a candidate where products in f16 were asked for, because whether
//! it is worth its while is unknown. It has to be clearly faster, so that the next tuning is likely to decide the
//! same; the pick that the cache keeps is what makes results the same for certain.

mod cache;
mod trial;

pub use super::{
    options::{Tune, Tuning},
    products::{CANDIDATES, Variant},
};

use super::{
    Adapter, Context, GpuOptions,
    options::matrix_side,
    products::{Agreement, Class, Kind},
};
use crate::Result;
use cache::Cache;
use espalier_base::profile;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use trial::{Check, Race};

/// How many times as fast as the plain kernel one must be that adds up in another order.
const REORDERED: f64 = 1.25;

/// Picks variants for one adapter.
#[derive(Debug)]
pub(super) struct Tuner {
    active: bool,
    adapter: String,
    candidates: Vec<Variant>,
    /// The least and the most invocations in a subgroup, where kernels may use them.
    subgroup_size: Option<[u32; 2]>,
    cache: Option<Cache>,
    state: Mutex<TunerState>,
}

#[derive(Debug, Default)]
struct TunerState {
    picks: HashMap<Class, Variant>,
    /// Candidates that did not compile or were wrong.
    refused: Vec<String>,
    /// Whether the kernel of subgroups agrees with the plain one, or the one of weights without zeros with it, by everything it is
    /// compiled for.
    few: HashMap<String, bool>,
}

impl Tuner {
    /// A tuner for an adapter whose device has these limits.
    pub(super) fn new(adapter: &Adapter, limits: &wgpu::Limits, options: &GpuOptions) -> Self {
        let tuning = &options.tuning;
        let report = adapter.report();
        let active = tuning.active(report);
        let mut candidates = tuning.candidates.clone().unwrap_or_else(|| CANDIDATES.to_vec());
        let folder = tuning.folder.clone().or_else(cache::default_folder).filter(|_| active);
        let cache = folder.map(|folder| Cache::new(&folder, report, &candidates));
        if let Some(side) = matrix_side(adapter, options) {
            candidates.extend(Variant::cooperative(side, report.features.subgroup_size));
        }
        candidates.retain(|variant| variant.fits(limits));
        Self {
            active,
            adapter: format!("{} ({})", report.name, report.backend),
            candidates,
            cache,
            subgroup_size: report.features.subgroups.then_some(report.features.subgroup_size),
            state: Mutex::default(),
        }
    }

    /// The variant for a product of this class. Tunes the class if it is new.
    pub(super) fn variant(&self, context: &Context, class: Class) -> Variant {
        // Held while tuning: two that tune at once would time each other.
        let mut state = self.state();
        if let Some(variant) = state.picks.get(&class) {
            return *variant;
        }
        let pick = match self.few(context, &class, &mut state) {
            Some(few) => few,
            None if self.active => self.remembered_or_tuned(context, &class, &mut state.refused),
            None => Variant::built_in(&class),
        };
        state.picks.insert(class, pick);
        pick
    }

    /// The kernel of subgroups, where the class has few tokens and the kernel works.
    fn few(&self, context: &Context, class: &Class, state: &mut TunerState) -> Option<Variant> {
        let Kind::Linear { dtype, compute, aligned } = class.kind else { return None };
        let few = Variant::few(class.rows(), class.cols(), self.subgroup_size?)?;
        if !few.fits(context.limits()) {
            return None;
        }
        let compiled_for = format!("{few} {dtype} {compute} {aligned}");
        let agrees = *state.few.entry(compiled_for).or_insert_with(|| {
            let check = Check::new(context, class);
            let difference = check.and_then(|check| check.difference(&few));
            // No part of the product that is asked for.
            context.kernel_seconds();
            self.accept(&few, difference)
        });
        agrees.then_some(few)
    }

    /// The kernel that reads weights without their zeros, where the kernel of subgroups is taken for the class and this one makes the
    /// same of the same weights, bit for bit.
    pub(super) fn packed(&self, context: &Context, class: Class) -> Option<Variant> {
        let Kind::Linear { dtype, compute, aligned } = class.kind else { return None };
        let few = self.variant(context, class);
        let packed = few.packed()?;
        let mut state = self.state();
        let compiled_for = format!("{packed} {dtype} {compute} {aligned}");
        let agrees = *state.few.entry(compiled_for).or_insert_with(|| {
            let difference = trial::packed_difference(context, &class, &few, &packed);
            // No part of the product that is asked for.
            context.kernel_seconds();
            self.accept(&packed, difference)
        });
        agrees.then_some(packed)
    }

    fn remembered_or_tuned(&self, context: &Context, class: &Class, refused: &mut Vec<String>) -> Variant {
        let name = class.to_string();
        let remembered = self.cache.as_ref().and_then(|cache| cache.get(&name));
        let remembered = remembered.and_then(|name| self.candidate(class, &name));
        remembered.unwrap_or_else(|| {
            let _stage = profile::stage(|| format!("tune {name}"));
            match self.tune(context, class, refused) {
                Ok(pick) => {
                    if let Some(cache) = &self.cache {
                        cache.put(&name, &pick.to_string());
                    }
                    pick
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "{name} is not tuned on {}", self.adapter);
                    Variant::built_in(class)
                }
            }
        })
    }

    /// Whether a variant may be taken, given how it differs from the plain kernel; if not, says so.
    fn accept(&self, variant: &Variant, difference: Result<Option<String>>) -> bool {
        let why = match difference {
            Ok(None) => return true,
            Ok(Some(difference)) => difference,
            Err(error) => error.to_string(),
        };
        tracing::warn!("the kernel `{variant}` is not used on {}: {why}", self.adapter);
        false
    }

    /// What is compared so far of kernels for few tokens, and whether they agree.
    pub(super) fn agreed(&self) -> Vec<(String, bool)> {
        let mut agreed: Vec<_> =
            self.state().few.iter().map(|(kernel, agrees)| (kernel.clone(), *agrees)).collect();
        agreed.sort();
        agreed
    }

    /// Every class met so far and the variant taken for it, by name.
    pub(super) fn picks(&self) -> Vec<(String, String)> {
        let state = self.state();
        let mut picks: Vec<_> =
            state.picks.iter().map(|(class, variant)| (class.to_string(), variant.to_string())).collect();
        picks.sort();
        picks
    }

    /// The candidates for a class: the built-in variant first, and none whose tiles would be mostly empty.
    fn candidates(&self, class: &Class) -> Vec<Variant> {
        let built_in = Variant::built_in(class);
        let others = self.candidates.iter().filter(|variant| variant.suits(class));
        let others = others.filter(|variant| variant.to_string() != built_in.to_string());
        std::iter::once(built_in).chain(others.copied()).collect()
    }

    fn candidate(&self, class: &Class, name: &str) -> Option<Variant> {
        self.candidates(class).into_iter().find(|variant| variant.to_string() == name)
    }

    fn tune(&self, context: &Context, class: &Class, refused: &mut Vec<String>) -> Result<Variant> {
        context.finish("tune")?;
        let timed_before = context.times_kernels();
        context.time_kernels(true)?;
        let pick = self.fastest(context, class, refused);
        // Nobody else's kernels: everything before was waited for.
        context.kernel_seconds();
        context.time_kernels(timed_before)?;
        pick
    }

    fn fastest(&self, context: &Context, class: &Class, refused: &mut Vec<String>) -> Result<Variant> {
        let check = Check::new(context, class)?;
        let mut variants = self.candidates(class);
        variants.retain(|variant| {
            let name = variant.to_string();
            if refused.contains(&name) {
                return false;
            }
            let accepted = self.accept(variant, check.difference(variant));
            if !accepted {
                refused.push(name);
            }
            accepted
        });
        let mut race = Race::new(context, class)?;
        context.kernel_seconds();
        let times = race.times(&variants)?;
        for (variant, seconds) in variants.iter().zip(&times) {
            tracing::debug!("{class}: {variant} takes {:.1} us", seconds * 1e6);
        }
        // What adds up in another order has to be worth that.
        let weighed = variants.into_iter().zip(times).map(|(variant, seconds)| match variant.agreement() {
            Agreement::Exact => (variant, seconds),
            Agreement::Reordered => (variant, REORDERED * seconds),
        });
        let fastest = weighed.min_by(|(_, a), (_, b)| a.total_cmp(b));
        Ok(fastest.map_or_else(|| Variant::built_in(class), |(variant, _)| variant))
    }

    fn state(&self) -> MutexGuard<'_, TunerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
