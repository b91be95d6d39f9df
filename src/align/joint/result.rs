//! What a joint alignment returns.

use ndarray::Array2;

use super::support::Support;
use crate::align::UvProfile;
use crate::sky::Offset;

/// Whether a block has an offset that can be trusted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockStatus {
    /// It defines zero.
    Reference,
    /// It has an offset.
    Aligned,
    /// It has none, for this reason.
    NotAligned(String),
}

/// One block of a joint alignment.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct JointBlock {
    /// Name.
    pub name: String,
    /// Whether the offset can be trusted.
    pub status: BlockStatus,
    /// Position of the source relative to the block's phase center minus the same in the reference; `None` unless trusted.
    pub offset: Option<Offset>,
    /// 1-sigma to the east and north, the unknown sky included.
    pub sigma: Option<Offset>,
    /// Correlation of the two errors, -1 to 1.
    pub correlation: f64,
    /// Flux scale relative to the reference.
    pub gain: f64,
    /// Its 1-sigma; the prior of 0.2 about 1 is included.
    pub sigma_gain: f64,
    /// Residual chi-square over its degrees of freedom, with the weights as the set has them.
    pub chi2_reduced: f64,
    /// Cells used.
    pub cells: usize,
    /// Second-best match over the best when the block was placed (0 for the seed); above 0.7 several places were tried.
    pub ambiguity: f64,
    /// Height of the best match in units of its noise (infinite for the seed).
    pub significance: f64,
    /// Scatter of the samples inside cells over what the weights say.
    pub scatter_factor: Option<f64>,
    /// Naturally weighted beam of the block: (bmaj rad, bmin rad, bpa rad).
    pub beam: Option<(f64, f64, f64)>,
    /// The block beside the reference in rings of the uv plane, where it has an offset.
    pub profile: Option<UvProfile>,
}

/// A map of the sky: [north, east], east and north increasing.
#[derive(Debug, Clone, PartialEq)]
pub struct SkyMap {
    /// Values, [y, x]; x grows to the east.
    pub data: Array2<f64>,
    /// Side of a pixel, rad.
    pub pixel_rad: f64,
    /// Place of pixel (n/2, n/2) relative to the reference's phase center.
    pub center: Offset,
}

/// All blocks on a common sky.
#[derive(Debug, Clone)]
pub struct JointFit {
    /// Name of the block that defines zero.
    pub reference: String,
    /// Name of the block whose image started the chain.
    pub seed: String,
    /// The blocks in the order given.
    pub blocks: Vec<JointBlock>,
    /// Covariance of the offsets, rad², rows and columns (east, north) of each block in the order given; NaN where there is none.
    pub covariance: Array2<f64>,
    /// The sky that fits all blocks, Jy/pixel.
    pub image: SkyMap,
    /// Where emission was allowed, 0 to 1, on the pixels of `image`.
    pub envelope: SkyMap,
    /// The same in words and numbers, relative to the reference's phase center.
    pub support: Support,
    /// Residuals of all blocks together over their noise, wide field.
    pub residual: SkyMap,
    /// True where every block has an offset that can be trusted.
    pub converged: bool,
    /// What was done and what is doubtful, sentence by sentence.
    pub remarks: Vec<String>,
    /// Iterations of the refinement.
    pub iterations: usize,
}

impl JointFit {
    /// The block of this name.
    pub fn block(&self, name: &str) -> Option<&JointBlock> {
        self.blocks.iter().find(|b| b.name == name)
    }
}

impl std::fmt::Display for JointFit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for b in &self.blocks {
            match (&b.status, b.offset, b.sigma) {
                (BlockStatus::Reference, ..) => writeln!(f, "{}: reference, chi2 {:.2}", b.name, b.chi2_reduced)?,
                (BlockStatus::Aligned, Some(o), Some(s)) => writeln!(
                    f,
                    "{}: ({:+.3} ± {:.3}, {:+.3} ± {:.3}) mas, flux scale {:.3} ± {:.3}, chi2 {:.2}, {} cells",
                    b.name,
                    o.dra_mas(),
                    s.dra_mas(),
                    o.ddec_mas(),
                    s.ddec_mas(),
                    b.gain,
                    b.sigma_gain,
                    b.chi2_reduced,
                    b.cells
                )?,
                (BlockStatus::NotAligned(reason), ..) => writeln!(f, "{}: NOT ALIGNED: {reason}", b.name)?,
                _ => writeln!(f, "{}: no offset", b.name)?,
            }
        }
        write!(f, "support {}", self.support)
    }
}
