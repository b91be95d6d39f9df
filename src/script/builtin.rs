//! The scripts that are built into the program.

/// Name and text of each.
static SCRIPTS: &[(&str, &str)] = &[
    ("step2_phase_alignment.rhai", include_str!("../../scripts/step2_phase_alignment.rhai")),
    ("apply_shifts.rhai", include_str!("../../scripts/apply_shifts.rhai")),
    ("step5_image_continuum.rhai", include_str!("../../scripts/step5_image_continuum.rhai")),
    ("step5_image_lines.rhai", include_str!("../../scripts/step5_image_lines.rhai")),
    ("image_cube_phangs.rhai", include_str!("../../scripts/image_cube_phangs.rhai")),
    ("derived_products.rhai", include_str!("../../scripts/derived_products.rhai")),
    ("cube_analysis.rhai", include_str!("../../scripts/cube_analysis.rhai")),
];

/// The text of a built-in script.
pub fn script(name: &str) -> Option<&'static str> {
    SCRIPTS.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// Names of the built-in scripts.
pub fn names() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|(name, _)| *name)
}
