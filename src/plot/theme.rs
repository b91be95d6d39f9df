//! Sizes, in points of the page: chosen so that all letters can be read at half size.

/// Numbers at ticks.
pub const TICK: f64 = 12.5;
/// Axis labels.
pub const LABEL: f64 = 14.0;
/// Titles of panels.
pub const TITLE: f64 = 14.5;
/// Title of the figure.
pub const HEADLINE: f64 = 16.0;
/// Words inside panels, legends.
pub const NOTE: f64 = 12.5;
/// Length of long ticks.
pub const MAJOR: f64 = 6.5;
/// Length of short ticks.
pub const MINOR: f64 = 3.5;
/// Width of frames and ticks.
pub const FRAME: f64 = 1.0;
/// White border of the figure.
pub const BORDER: f64 = 10.0;
/// Space between the decorations of neighbouring panels.
pub const GAP: f64 = 14.0;
/// Thickness of a color bar.
pub const BAR: f64 = 13.0;
/// Width of a figure over the full page.
pub const WIDTH: f64 = 820.0;
