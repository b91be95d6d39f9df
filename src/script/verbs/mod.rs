//! The verbs, by group; each converts, runs the science, and converts back.

use super::verb::Verb;

mod align;
mod data;
mod figures;
mod imaging;
mod products;
mod run;
mod sets;
mod simulate;
mod tables;
mod uvfits;
mod uvtable;

pub use run::shown;
pub use sets::SetArg;

/// All groups in the order in which help lists them.
pub static GROUPS: &[&[&Verb]] = &[
    run::VERBS,
    simulate::VERBS,
    data::VERBS,
    uvfits::VERBS,
    uvtable::VERBS,
    align::VERBS,
    imaging::VERBS,
    figures::VERBS,
    tables::VERBS,
    products::cubes::VERBS,
    products::masks::VERBS,
    products::maps::VERBS,
    products::spectra::VERBS,
    products::grids::VERBS,
    products::figures::VERBS,
];
