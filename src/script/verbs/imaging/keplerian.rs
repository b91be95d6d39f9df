//! Keplerian masks.

use serde_json::json;

use crate::data::{Beams, CubeInfo, Unit};
use crate::data::{CubeSink, CubeSource};
use crate::error::Result;
use crate::fits::{CubeWriter, ReadOptions, open_cube};
use crate::imaging::{KeplerianOptions, keplerian_mask, smooth_mask};
use crate::options::Options;
use crate::script::value::record;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults};
use crate::units::ARCSEC;

pub static KEPLERIAN_MASK: Verb = Verb {
    name: "keplerian_mask",
    group: "Imaging",
    summary: "Makes the mask of a disk in Keplerian rotation on the pixels and channels of a cube.",
    details: "A voxel is masked where the channel touches the velocity that a disk of this inclination, position angle, mass and distance has there, \
              give or take the width of the line; over both surfaces of a thick disk, and over further lines. The middle of the disk counts from the \
              reference pixel of the cube.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "FITS cube that the mask is for: its dirty image, say."),
        Input::new("out", InputKind::FileOut, "FITS mask to make."),
    ],
    options: &[KeplerianOptions::PARAMS],
    defaults: defaults::<KeplerianOptions>,
    returns: "KeplerianMask: `file`, `fraction` of the voxels, `channels` with a masked pixel",
    effects: Effects::Writes,
    examples: &[Example {
        title: "A cube needs a rest frequency to have velocities, and an inner radius below the outer one.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 6, integrations: 3 });\nlet i = image(s.long, \"cube\", #{ spw: 0, mode: \"cube\", npix: 64, cell: \"0.03arcsec\", rest_freq: \"218GHz\" });\n\
                 keplerian_mask(i.files.dirty, \"m.fits\", #{ r_max: \"0arcsec\" })",
        result: "error: `r_max`",
        tolerance: 0.0,
    }],
    see: "Teague 2020, keplerian_mask (https://github.com/richteague/keplerian_mask)",
    check: check_options::<KeplerianOptions>,
    run,
    ..Verb::EMPTY
};

fn run(call: &Call, work: &Work) -> Result<serde_json::Value> {
    let options = call.options::<KeplerianOptions>()?;
    let cube = open_cube(&call.path_in(0)?, &ReadOptions::default(), work.notice)?;
    let info = cube.info();
    let (sky, spectral) = (info.sky(), info.spectral());
    let [x, y] = [sky.keys().crpix[0] - 1.0, sky.keys().crpix[1] - 1.0];
    let (cell_rad, shape) = (sky.cell_rad().0, (info.ny(), info.nx()));
    let width_kms = spectral.channel_width_kms().unwrap_or(0.0);
    let mask = keplerian_mask(&options, &spectral.velocities_kms()?, width_kms, shape, (x, y), cell_rad)?;
    let fwhm_rad = options.smooth_beams * info.beams().largest().map_or(0.0, |b| b.bmaj_rad());
    let mut mask_info = CubeInfo::new(sky.clone(), spectral.clone(), shape.0, shape.1, Unit::none())?.with_beams(Beams::None)?;
    if let Some(step) = work.step {
        mask_info.meta.add_history(step.history());
    }
    let out = call.path_out(1)?;
    let mut writer = CubeWriter::create_with_stokes(&out, &mask_info, true)?;
    let (mut n_true, mut channels) = (0usize, 0usize);
    for plane in mask.outer_iter() {
        let plane = if fwhm_rad > 0.0 { smooth_mask(&plane.to_owned(), fwhm_rad, cell_rad) } else { plane.to_owned() };
        let here = plane.iter().filter(|m| **m).count();
        (n_true, channels) = (n_true + here, channels + usize::from(here > 0));
        writer.put_plane(plane.mapv(|m| f32::from(u8::from(m))).view())?;
    }
    writer.finish()?;
    let fraction = n_true as f64 / mask.len() as f64;
    let text = format!(
        "{:.1} % of the voxels, in {channels} of {} channels of {:.3} km/s, cell {:.4} arcsec",
        100.0 * fraction,
        mask.shape()[0],
        width_kms,
        cell_rad / ARCSEC
    );
    record("KeplerianMask", text, json!({ "file": call.context.sandbox.show(&out), "fraction": fraction, "channels": channels }))
}
