//! What can be wrong with a request to image.

use super::memory;
use crate::error::{Explain, Kind};
use crate::units::ARCSEC;

/// Errors of the imaging room.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImagingError {
    /// No total intensity.
    #[error("correlations {corr} hold no total intensity; expected I, XX and YY, or RR and LL")]
    NoIntensity {
        /// The correlations that are there.
        corr: String,
    },
    /// The image would alias.
    #[error("cell {:.4}arcsec is too coarse: baselines reach {:.0} kλ, which needs cell <= {:.4}arcsec", .cell_rad / ARCSEC, .max_uv_lambda / 1e3, 0.5 / .max_uv_lambda / ARCSEC)]
    CellTooCoarse {
        /// Side of a pixel.
        cell_rad: f64,
        /// Longest baseline.
        max_uv_lambda: f64,
    },
    /// Nothing to image.
    #[error("no visibilities are left to image: {0}")]
    NoVisibilities(String),
    /// An option out of its range.
    #[error("`{name}` is {value}; expected {expected}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// Arrays of different shapes.
    #[error("the {what} has {found:?} pixels (y, x) where {expected:?} were expected")]
    Shape {
        /// What was compared.
        what: &'static str,
        /// Its shape.
        found: [usize; 2],
        /// The shape expected.
        expected: [usize; 2],
    },
    /// The spectral axis of a cube lies outside the data.
    #[error("the cube's channels, {:.6} to {:.6} GHz, lie outside the data, {:.6} to {:.6} GHz", .cube_hz.0 / 1e9, .cube_hz.1 / 1e9, .data_hz.0 / 1e9, .data_hz.1 / 1e9)]
    OutsideBand {
        /// Range of the cube.
        cube_hz: (f64, f64),
        /// Range of the data, in the cube's frame.
        data_hz: (f64, f64),
    },
    /// Velocities without a rest frequency.
    #[error("velocities need a rest frequency, and none is given")]
    NoRestFrequency,
    /// Something that a gridder cannot do.
    #[error("gridder \"{gridder}\" cannot make this image: {why}")]
    Gridder {
        /// Its name.
        gridder: &'static str,
        /// Why not.
        why: String,
    },
    /// An image where the antennas see nothing.
    #[error("the image about {center} lies outside the primary beam: the nearest pointing is {:.1} arcsec away", .separation_rad / ARCSEC)]
    OutsideBeam {
        /// Middle of the image.
        center: String,
        /// Distance of the nearest pointing.
        separation_rad: f64,
    },
    /// A telescope whose beam is not known.
    #[error("the primary beam of telescope \"{telescope}\" is unknown and its antennas have no diameter")]
    UnknownBeam {
        /// Name of the telescope.
        telescope: String,
    },
    /// A beam that cannot be fitted.
    #[error("no beam can be fitted to the PSF: {0}")]
    BeamFit(String),
    /// Directions in frames that cannot be joined.
    #[error("phase center {from} cannot be expressed in frame {to}")]
    Frame {
        /// The direction.
        from: String,
        /// The frame.
        to: &'static str,
    },
    /// An image that the memory does not hold.
    #[error(
        "the image needs about {} of memory{}; {} are free",
        memory::text(*.needed_bytes), w_text(*.w_terms), memory::text(*.available_bytes)
    )]
    Memory {
        /// What it needs.
        needed_bytes: usize,
        /// What there is.
        available_bytes: usize,
        /// Terms of the expansion in w.
        w_terms: usize,
    },
    /// Sums that single precision does not hold.
    #[error("the sum of the visibilities of plane {plane} is not a number: visibilities or weights are too large")]
    Overflow {
        /// Image plane.
        plane: usize,
    },
    /// A component wider than the image.
    #[error("a scale of {scale} pixels does not fit into {nx} x {ny} pixels; expected a radius of at most half the image")]
    ScaleTooLarge {
        /// Radius, pixels.
        scale: f64,
        /// Pixels along x.
        nx: usize,
        /// Pixels along y.
        ny: usize,
    },
    /// Pointings that no image of one tangent plane shows.
    #[error("the fields are up to {:.1} deg apart, {:.0} times the width of a primary beam: they are no mosaic", .apart_rad.to_degrees(), .beams)]
    FarApart {
        /// Largest distance.
        apart_rad: f64,
        /// The same in primary beams.
        beams: f64,
    },
    /// A set given twice.
    #[error("{name} is given twice: its visibilities would count twice")]
    Twice {
        /// Name of the set.
        name: String,
    },
    /// A source at the edge of an image that is to be cleaned there.
    #[error(
        "the brightest pixel of the dirty image, ({x}, {y}), lies at the edge of {nx} x {ny} pixels of {cell_arcsec:.4} arcsec: the image is too small for \
         its source, and CLEAN would take for structure what is aliased into it"
    )]
    SourceAtEdge {
        /// Column.
        x: usize,
        /// Row.
        y: usize,
        /// Pixels along x.
        nx: usize,
        /// Pixels along y.
        ny: usize,
        /// Side of a pixel.
        cell_arcsec: f64,
    },
    /// A mask without a pixel in the image.
    #[error("the mask has no pixel inside the image")]
    EmptyMask,
}

/// ` with 40 terms of the w-term`
fn w_text(w_terms: usize) -> String {
    if w_terms > 1 { format!(", {w_terms} terms of the w-term among it") } else { String::new() }
}

impl Explain for ImagingError {
    fn kind(&self) -> Kind {
        match self {
            ImagingError::NoIntensity { .. }
            | ImagingError::NoVisibilities(_)
            | ImagingError::BeamFit(_)
            | ImagingError::Overflow { .. } => Kind::Data,
            _ => Kind::User,
        }
    }
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                ImagingError::CellTooCoarse { max_uv_lambda, .. } => {
                    return Some(format!(
                        "use cell: \"{:.3}arcsec\" (about 5 pixels across the beam), or a taper and a uvrange",
                        0.2 / max_uv_lambda / ARCSEC
                    ));
                }
                ImagingError::NoVisibilities(_) => "look at the flags, weights and the selection with `summary`",
                ImagingError::OutsideBand { .. } => {
                    "look at the spectral windows with `summary`, and at start, width, nchan, frame and rest_freq"
                }
                ImagingError::OutsideBeam { .. } => "choose a phase_center near a pointing, or the field that is meant",
                ImagingError::UnknownBeam { .. } => "give dish: 25.0, in metres",
                ImagingError::NoRestFrequency => "give rest_freq, for example \"230.538GHz\" for CO(2-1)",
                ImagingError::Memory { w_terms, .. } if *w_terms > 1 => {
                    "choose a smaller npix, or a coarser cell with a taper; gridder: \"standard\" leaves the w-term out"
                }
                ImagingError::Memory { .. } => "choose a smaller npix or fewer channels (start, nchan), or a coarser cell with a taper",
                ImagingError::Overflow { .. } => "look at the amplitudes and weights of the set, whose unit is Jy and 1/Jy²",
                ImagingError::ScaleTooLarge { .. } => "drop the scale, or raise npix",
                ImagingError::FarApart { .. } => "choose one with field, or give phase_center and npix for a part of them",
                ImagingError::Twice { .. } => "name each set once; two blocks of a set are a.ms#0 and a.ms#1",
                ImagingError::SourceAtEdge { .. } => {
                    "raise npix, or move phase_center; to clean the rest of the field only, give a mask that leaves the edge out"
                }
                ImagingError::EmptyMask => {
                    "regions count from the phase center, or in pixels from 0; levels (pb, snr) may be above everything in the image"
                }
                _ => return None,
            }
            .to_string(),
        )
    }
}
