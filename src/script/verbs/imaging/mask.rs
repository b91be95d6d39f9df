//! Masks and start models as scripts name them.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};

use crate::data::Cube;
use crate::error::{Error, Result};
use crate::fits::{ReadOptions, read_cube};
use crate::imaging::{AutoMaskOptions, MaskChoice, StartModel};
use crate::notice::Reporter;
use crate::options;
use crate::script::verb::Call;

options! {
    /// Where components may lie, and what to start from.
    pub struct MaskOptions {
        /// Nothing for everywhere; a region (CRTF or DS9, `circle[[256pix, 256pix], 85pix]`), a file of regions (`.crtf`, `.reg`), a FITS mask, which is brought to the pixels and velocities of the image; `pb:0.3` for where the primary beam is above a level; `auto-multithresh`; `snr:4,2` for where the dirty image is above 4 noises and around that above 2.
        [""] mask: String = String::new(),
        /// FITS file of a model to go on from, `PREFIX.model.fits` of an earlier image of the same pixels, or `PREFIX.model.tt0.fits` with its further Taylor terms beside it.
        [""] start_model: String = String::new(),
    }
}

/// A mask as it was said.
enum Said {
    Nothing,
    Regions(String),
    RegionFile(PathBuf),
    Fits(PathBuf),
    Level(f64),
    Auto,
    Signal(f64, f64),
}

fn said(call: &Call, text: &str) -> Result<Said> {
    let text = text.trim();
    let number = |t: &str| {
        t.trim()
            .parse::<f64>()
            .map_err(|_| Error::user(format!("mask \"{text}\": {t} is no number")).hint("for example pb:0.3, or snr:4,2"))
    };
    if text.is_empty() {
        return Ok(Said::Nothing);
    }
    if text == "auto-multithresh" {
        return Ok(Said::Auto);
    }
    if let Some(level) = text.strip_prefix("pb:") {
        return Ok(Said::Level(number(level)?));
    }
    if let Some(levels) = text.strip_prefix("snr:") {
        let (high, low) = levels.split_once(',').unwrap_or((levels, "2"));
        let (high, low) = (number(high)?, number(low)?);
        if !(high >= low && low > 0.0) {
            return Err(Error::user(format!(
                "mask \"{text}\": expected the noises of the peak, then those of the edge, above 0 and no larger"
            ))
            .hint("for example snr:4,2"));
        }
        return Ok(Said::Signal(high, low));
    }
    let ends = |endings: &[&str]| endings.iter().any(|e| text.ends_with(e));
    if ends(&[".fits", ".fits.gz", ".fit"]) {
        return call.context.sandbox.readable(text).map(Said::Fits);
    }
    if ends(&[".crtf", ".reg", ".rgn", ".txt"]) {
        return call.context.sandbox.readable(text).map(Said::RegionFile);
    }
    Ok(Said::Regions(text.to_string()))
}

/// Files that a mask and a start model are read from.
pub fn files(call: &Call, options: &MaskOptions) -> Result<Vec<PathBuf>> {
    let mut out = match said(call, &options.mask)? {
        Said::Fits(path) | Said::RegionFile(path) => vec![path],
        _ => vec![],
    };
    if !options.start_model.is_empty() {
        out.extend(term_files(&call.context.sandbox.readable(&options.start_model)?));
    }
    Ok(out)
}

/// The mask that a script means.
pub fn choice(call: &Call, options: &MaskOptions, auto: AutoMaskOptions, notice: &dyn Reporter) -> Result<MaskChoice> {
    Ok(match said(call, &options.mask)? {
        Said::Nothing => MaskChoice::Everywhere,
        Said::Regions(text) => MaskChoice::Regions(text),
        Said::RegionFile(path) => MaskChoice::Regions(std::fs::read_to_string(&path).map_err(|e| Error::io("read the regions", &path, e))?),
        Said::Fits(path) => MaskChoice::Cube(Box::new(read_cube(&path, &ReadOptions::default(), notice)?)),
        Said::Level(level) => MaskChoice::PrimaryBeam(level),
        Said::Auto => MaskChoice::Auto(auto),
        Said::Signal(high, low) => MaskChoice::Signal { high, low },
    })
}

/// The model to start from, plane by plane.
pub fn start_model(call: &Call, options: &MaskOptions, notice: &dyn Reporter) -> Result<Option<StartModel>> {
    if options.start_model.is_empty() {
        return Ok(None);
    }
    let path = call.context.sandbox.readable(&options.start_model)?;
    let first = read_cube(&path, &ReadOptions::default(), notice)?;
    let unit = first.info().unit.to_string();
    if !(unit.is_empty() || unit.eq_ignore_ascii_case("Jy/pixel")) {
        let message = format!("the start model is in {unit}; expected a model in Jy/pixel");
        return Err(Error::user(message).hint("give PREFIX.model.fits, not a restored image").at(&path));
    }
    let mut planes = planes_of(&first);
    for term in term_files(&path).iter().skip(1) {
        planes.extend(planes_of(&read_cube(term, &ReadOptions::default(), notice)?));
    }
    Ok(Some(StartModel { planes, n_iter: 0, sky: Some(first.info().sky().clone()) }))
}

/// Planes of a model, and of the Taylor terms beside it.
pub fn model_planes(path: &Path, notice: &dyn Reporter) -> Result<Vec<Array2<f32>>> {
    let files = term_files(path).into_iter().map(|file| planes(&file, notice)).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().flatten().collect())
}

/// `a.model.tt0.fits` with `a.model.tt1.fits` and so on; any other file alone.
pub fn term_files(path: &Path) -> Vec<PathBuf> {
    let name = path.to_string_lossy();
    let further =
        |root: &str| -> Vec<PathBuf> { (1..4).map(|t| PathBuf::from(format!("{root}.tt{t}.fits"))).take_while(|p| p.is_file()).collect() };
    let further = name.strip_suffix(".tt0.fits").map_or_else(Vec::new, further);
    std::iter::once(path.to_path_buf()).chain(further).collect()
}

/// All planes of a FITS file.
pub fn planes(path: &Path, notice: &dyn Reporter) -> Result<Vec<Array2<f32>>> {
    Ok(planes_of(&read_cube(path, &ReadOptions::default(), notice)?))
}

fn planes_of(cube: &Cube) -> Vec<Array2<f32>> {
    cube.data().axis_iter(Axis(0)).map(|p| p.to_owned()).collect()
}
