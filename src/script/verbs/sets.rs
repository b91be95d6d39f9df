//! Sets as arguments of verbs: paths, blocks of a set, and the same windows in every block.

use std::path::PathBuf;

use serde_json::Value;

use crate::align::check_weights;
use crate::data::VisSource;
use crate::error::{Error, Result};
use crate::ms::select::{Names, Selection, matching_spws};
use crate::ms::{MeasurementSet, Selected};
use crate::notice::{Reporter, Warning};
use crate::script::context::Context;

/// A set, or one execution block of it (`a.ms#1`), as a script names it.
#[derive(Debug, Clone)]
pub struct SetArg {
    /// The folder.
    pub path: PathBuf,
    /// The block inside it.
    pub block: Option<usize>,
    /// As the script wrote it.
    pub text: String,
}

impl SetArg {
    /// Reads a path or a `MeasurementSet` record.
    pub fn new(context: &Context, value: &Value) -> Result<SetArg> {
        let text = value.as_str().or_else(|| value.get("path")?.as_str()).unwrap_or_default().to_string();
        let (path, block) = match text.rsplit_once('#') {
            Some((path, number)) if !context.sandbox.readable(&text).is_ok_and(|p| p.exists()) => {
                let block = number.parse().map_err(|_| {
                    Error::user(format!("\"{text}\": \"#{number}\" is no number of a block"))
                        .hint("write a.ms#0 for the first block of a.ms; `blocks` lists them")
                })?;
                (path.to_string(), Some(block))
            }
            _ => (text.clone(), None),
        };
        Ok(SetArg { path: context.sandbox.readable(&path)?, block, text })
    }

    /// All sets of a list.
    pub fn list(context: &Context, values: &[Value]) -> Result<Vec<SetArg>> {
        values.iter().map(|v| SetArg::new(context, v)).collect()
    }

    /// Name in tables: the set's file name without folder and `.ms`, with `#k` for a block of it.
    pub fn name(&self) -> String {
        let name = crate::ms::set_name(&self.path);
        self.block.map_or(name.clone(), |b| format!("{name}#{b}"))
    }

    /// Opens the set.
    pub fn open(&self) -> Result<MeasurementSet> {
        MeasurementSet::open(&self.path)
    }

    /// Opens what the selection means in the set, in its block if it names one.
    pub fn select(&self, selection: &Selection) -> Result<Selected> {
        self.open()?.select(&self.with_block(selection.clone()))
    }

    /// Opens what the selection means in the set, one selection for each phase center.
    pub fn select_pointings(&self, selection: &Selection) -> Result<Vec<Selected>> {
        self.open()?.select_pointings(&self.with_block(selection.clone()))
    }

    /// Opens the windows of the set that cover those of `reference`, by frequency: blocks differ by their Doppler shifts, and
    /// a joined set has one window for each block.
    pub fn select_like(&self, reference: &Selected, selection: &Selection) -> Result<Selected> {
        let set = self.open()?;
        let mut terms: Vec<String> = vec![];
        for window in reference.windows() {
            for id in matching_spws(&set, window.range_hz, MIN_SHARED_BAND) {
                let channels: Vec<String> = window.channels_hz.iter().map(|(a, b)| format!("{:.6}~{:.6}MHz", a / 1e6, b / 1e6)).collect();
                terms.push(if channels.is_empty() { id.to_string() } else { format!("{id}:{}", channels.join(";")) });
            }
        }
        terms.sort();
        terms.dedup();
        if terms.is_empty() {
            let ghz = |(a, b): (f64, f64)| format!("{:.4} to {:.4} GHz", a / 1e9, b / 1e9);
            let wanted: Vec<String> = reference.windows().iter().map(|w| ghz(w.range_hz)).collect();
            let there: Vec<String> = set.spws.iter().map(|s| ghz(s.range_hz())).collect();
            return Err(Error::data(format!("{} has no window like those of the reference, {}", self.name(), wanted.join(", ")))
                .hint(format!("its windows are {}: name with `spw` what both have", there.join(", ")))
                .at(&self.path));
        }
        set.select(&self.with_block(Selection { spw: Names(terms), ..selection.clone() }))
    }

    fn with_block(&self, mut selection: Selection) -> Selection {
        if let Some(block) = self.block {
            selection.block = Names(vec![block.to_string()]);
        }
        selection
    }
}

/// Part of the wider of two windows that both must cover to be the same window at another Doppler shift.
const MIN_SHARED_BAND: f64 = 0.5;

/// The reference and the other blocks of a call, on the same windows.
pub struct Blocks {
    /// The reference.
    pub reference: Selected,
    /// The others, in the order of the call.
    pub others: Vec<Selected>,
}

impl Blocks {
    /// Opens the reference, and in the others what is like it; the same set twice is an error.
    pub fn open(reference: &SetArg, others: &[SetArg], selection: &Selection) -> Result<Blocks> {
        for (i, a) in others.iter().enumerate() {
            if let Some(b) = others[..i].iter().find(|b| b.name() == a.name()) {
                let what = if a.path == b.path { "is given twice" } else { "is the name of two sets" };
                return Err(Error::user(format!("\"{}\" {what}: {} and {}", a.name(), b.text, a.text))
                    .hint("every block needs a name of its own: the file name without folder and `.ms`"));
            }
        }
        let first = reference.select(selection)?;
        let others = others.iter().map(|o| o.select_like(&first, selection)).collect::<Result<Vec<_>>>()?;
        Ok(Blocks { reference: first, others })
    }

    /// Warns of weights that the scatter of the data does not bear out, and of WEIGHT that disagrees with SIGMA.
    pub fn check_weights(&self, notice: &dyn Reporter) -> Result<()> {
        for set in std::iter::once(&self.reference).chain(&self.others) {
            check_weights(set, notice)?.report(set.name(), notice);
            if let Some(factor) = set.weight_times_sigma_squared()?.filter(|f| !(0.98..1.02).contains(f)) {
                let message = format!("{}: WEIGHT is {factor:.3} / SIGMA²: the two columns disagree; WEIGHT is used", set.name());
                notice.warn(Warning::new("weight-and-sigma", message).hint("set the weights anew (statwt), or use sigma: \"scatter\""));
            }
        }
        Ok(())
    }
}
