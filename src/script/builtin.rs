//! The scripts that are built into the program.

/// Name and text of each.
static SCRIPTS: &[(&str, &str)] = &[
    ("step2_phase_alignment.rhai", include_str!("../../scripts/step2_phase_alignment.rhai")),
    ("apply_shifts.rhai", include_str!("../../scripts/apply_shifts.rhai")),
];

/// The text of a built-in script.
pub fn script(name: &str) -> Option<&'static str> {
    SCRIPTS.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// Names of the built-in scripts.
pub fn names() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|(name, _)| *name)
}
