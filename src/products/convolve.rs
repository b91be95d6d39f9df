//! Convolution to a larger beam, with what blanks and edges do to it.

use ndarray::{Array2, ArrayView2};
use num_complex::ComplexFloat;
use rayon::prelude::*;
use rustfft::FftNum;

use super::fft::{Convolver, KernelTransform, Workspace};
use super::{Compat, ProductsError};
use crate::data::{Beam, Beams, Brightness, Cube, CubeInfo, CubeSink, CubeSource, Ellipse, Image, Mask};
use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};
use crate::sky::Celestial;

/// What blanks and the outside of the image do to their neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blanks {
    /// They have no weight: the mean of what is there.
    #[default]
    Interpolate,
    /// They count as 0.
    Fill,
}

crate::options! {
    /// Options of convolution.
    pub struct ConvolveOptions {
        /// "interpolate": blanks and the outside have no weight; "fill": they count as 0.
        [""] blanks: Blanks = Blanks::Interpolate,
        /// Leave the data as they are where the major axis is within this fraction of the target. PHANGS-ALMA products use 0.1.
        ["1"] tolerance: f64 = 0.0,
        /// Blank again what was blank.
        [""] keep_footprint: bool = true,
        /// "phangs": the kernel sampled on pixels, and the outside of the image counted as 0 with full weight.
        [""] compat: Compat = Compat::None,
    }
}

/// How much of the kernel fell on data: 1 inside, less towards blanks and edges.
///
/// Channels blank in the same places share a plane.
#[derive(Debug, Clone)]
pub struct Coverage {
    info: CubeInfo,
    planes: Vec<Array2<f32>>,
    of_channel: Vec<usize>,
}

impl Coverage {
    /// Coverage of one channel.
    pub fn plane(&self, channel: usize) -> &Array2<f32> {
        &self.planes[self.of_channel[channel]]
    }
    /// Mean over channels.
    pub fn map(&self) -> Result<Image> {
        let mut sum = Array2::<f64>::zeros(self.planes[0].dim());
        for i in &self.of_channel {
            sum.zip_mut_with(&self.planes[*i], |s, v| *s += f64::from(*v));
        }
        let n = self.of_channel.len() as f64;
        Ok(self.info.image(sum.mapv(|v| (v / n) as f32), crate::data::Unit::none())?)
    }
    /// Voxels with more than `threshold` of the kernel on data.
    pub fn above(&self, threshold: f32) -> Mask {
        let masks: Vec<Array2<bool>> = self.planes.iter().map(|p| p.mapv(|v| v > threshold)).collect();
        Mask::from_fn(self.info.shape(), |z, y, x| masks[self.of_channel[z]][[y, x]])
    }
    /// Hands the coverage on as a cube.
    pub fn write_to(&self, sink: &mut dyn CubeSink) -> Result<()> {
        self.of_channel.iter().try_for_each(|i| sink.put_plane(self.planes[*i].view()))
    }
    /// The grid, with the beam after convolution and no unit.
    pub fn info(&self) -> &CubeInfo {
        &self.info
    }
}

/// A cube at its new resolution.
#[derive(Debug, Clone)]
pub struct Convolved {
    /// The cube.
    pub cube: Cube,
    /// How much of the kernel fell on data.
    pub coverage: Coverage,
    /// False where the beam was within the tolerance of the target and the data are unchanged.
    pub changed: bool,
}

/// Convolves every channel of a cube to `target`.
pub fn convolve(source: &dyn CubeSource, target: Beam, options: &ConvolveOptions, notice: &dyn Reporter) -> Result<Convolved> {
    let [nc, ny, nx] = source.info().shape();
    let mut collect = Collect { planes: Vec::with_capacity(nc * ny * nx) };
    let (info, coverage, changed) = convolve_into(source, target, options, &mut |_| Ok(()), &mut collect, notice)?;
    let data = ndarray::Array3::from_shape_vec((nc, ny, nx), collect.planes).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Convolved { cube: Cube::new(info, data)?, coverage, changed })
}

struct Collect {
    planes: Vec<f32>,
}

impl CubeSink for Collect {
    fn put_plane(&mut self, plane: ArrayView2<'_, f32>) -> Result<()> {
        self.planes.extend(plane.iter());
        Ok(())
    }
}

/// As [`convolve`], handing the planes on in their order: neither cube is in memory. `begin` is told the new grid first.
pub fn convolve_into(
    source: &dyn CubeSource,
    target: Beam,
    options: &ConvolveOptions,
    begin: &mut dyn FnMut(&CubeInfo) -> Result<()>,
    sink: &mut dyn CubeSink,
    notice: &dyn Reporter,
) -> Result<(CubeInfo, Coverage, bool)> {
    let info = source.info();
    let plan = plan(info.beams(), info.sky(), target, options, notice)?;
    let mut out = info.clone();
    if plan.changed {
        out = out.with_beams(Beams::One(target))?;
    }
    begin(&out)?;
    let coverage_info = coverage_info(&out);
    let (planes, of_channel) = match options.compat {
        // f64 where voxels are held to another program's thresholds, f32 where the noise is a million roundings above it.
        Compat::Phangs => run::<f64>(source, &plan, options, sink, notice)?,
        Compat::None => run::<f32>(source, &plan, options, sink, notice)?,
    };
    Ok((out, Coverage { info: coverage_info, planes, of_channel }, plan.changed))
}

/// Convolves an image; returns it with its coverage.
pub fn convolve_image(image: &Image, target: Beam, options: &ConvolveOptions, notice: &dyn Reporter) -> Result<(Image, Image)> {
    let beams = image.beam.map_or(Beams::None, Beams::One);
    let axis = crate::sky::SpectralAxis::new(crate::sky::SpectralKind::Frequency, 1.0, 1.0, 1.0, 1)?;
    let mut info = CubeInfo::new(image.sky().clone(), axis, image.ny(), image.nx(), image.unit.clone())?.with_beams(beams)?;
    info.meta = image.meta.clone();
    let cube = Cube::new(info, image.data().clone().insert_axis(ndarray::Axis(0)))?;
    let convolved = convolve(&cube, target, options, notice)?;
    let data = convolved.cube.data().index_axis(ndarray::Axis(0), 0).to_owned();
    let mut out = image.with_data(data, image.unit.clone())?;
    out.beam = convolved.cube.info().beams().largest();
    let coverage = image.with_data(convolved.coverage.plane(0).clone(), crate::data::Unit::none())?;
    Ok((out, coverage))
}

fn coverage_info(info: &CubeInfo) -> CubeInfo {
    let mut out = info.clone();
    out.unit = crate::data::Unit::none();
    out.meta.set("BTYPE", crate::data::CardValue::Text("Coverage".into()), "");
    out
}

/// What to convolve each channel with.
struct Plan {
    /// Covariances of the kernels in pixels², `[xx, xy, yy]`.
    kernels: Vec<[f64; 3]>,
    /// Kernel and flux factor (1 for temperatures) of each channel; `None` leaves it alone.
    channels: Channels,
    changed: bool,
}

enum Channels {
    All(Option<(usize, f64)>),
    Each(Vec<Option<(usize, f64)>>),
}

impl Channels {
    fn of(&self, z: usize) -> Option<(usize, f64)> {
        match self {
            Channels::All(k) => *k,
            Channels::Each(v) => v.get(z).copied().flatten(),
        }
    }
}

fn plan(beams: &Beams, sky: &Celestial, target: Beam, options: &ConvolveOptions, notice: &dyn Reporter) -> Result<Plan> {
    let largest = beams.largest().ok_or(crate::data::DataError::NoBeam("convolution to a target beam"))?;
    let delta = (target.bmaj_rad() - largest.bmaj_rad()) / largest.bmaj_rad();
    if delta.abs() <= options.tolerance && target.is_round(1e-9) {
        if delta != 0.0 && options.compat == Compat::None {
            let message = format!("the beam {largest} is within {} of the target {target}: the data are left unchanged", options.tolerance);
            notice.warn(Warning::new("beam-within-tolerance", message).hint("tolerance: 0 convolves whenever it is possible"));
        }
        return Ok(Plan { kernels: vec![], channels: Channels::All(None), changed: false });
    }
    let mut kernels = Vec::new();
    let mut kernel_of = |beam: Beam, channel: Option<usize>| -> Result<Option<(usize, f64)>> {
        let kernel = beam.kernel_to(target).ok_or(ProductsError::TargetTooSmall { target, beam, channel })?;
        if kernel.is_zero() {
            return Ok(None);
        }
        let covariance = pixel_covariance(kernel, sky);
        let i = kernels.iter().position(|k| *k == covariance).unwrap_or_else(|| {
            kernels.push(covariance);
            kernels.len() - 1
        });
        Ok(Some((i, target.sr() / beam.sr())))
    };
    let channels = match beams {
        Beams::None => Channels::All(None),
        Beams::One(b) => Channels::All(kernel_of(*b, None)?),
        Beams::PerChannel(v) => {
            let each = v.iter().enumerate().map(|(z, b)| b.map_or(Ok(None), |b| kernel_of(b, Some(z)))).collect::<Result<_>>()?;
            Channels::Each(each)
        }
    };
    Ok(Plan { kernels, channels, changed: true })
}

/// Covariance in pixels² of a Gaussian kernel given by its squared widths on the sky.
fn pixel_covariance(kernel: Ellipse, sky: &Celestial) -> [f64; 3] {
    // Columns of the matrix from sky to pixels.
    let (ex, ey) = sky.pixels_from_offset(1.0, 0.0);
    let (nx, ny) = sky.pixels_from_offset(0.0, 1.0);
    let to_sigma2 = 1.0 / (8.0 * std::f64::consts::LN_2);
    let (ee, nn, en) = (kernel.ee * to_sigma2, kernel.nn * to_sigma2, kernel.en * to_sigma2);
    [
        ex * ex * ee + 2.0 * ex * nx * en + nx * nx * nn,
        ex * ey * ee + (ex * ny + nx * ey) * en + nx * ny * nn,
        ey * ey * ee + 2.0 * ey * ny * en + ny * ny * nn,
    ]
}

/// A Gaussian sampled at pixel centres out to 8 sigma of its major axis, of sum 1.
fn sampled_gaussian([xx, xy, yy]: [f64; 3]) -> Array2<f64> {
    let (mean, spread) = ((xx + yy) / 2.0, ((xx - yy) / 2.0).hypot(xy));
    let half = (8.0 * (mean + spread).sqrt()).ceil() as i64;
    let n = (2 * half + 1) as usize;
    let det = xx * yy - xy * xy;
    let mut k = Array2::from_shape_fn((n, n), |(j, i)| {
        let (y, x) = ((j as i64 - half) as f64, (i as i64 - half) as f64);
        (-0.5 * (yy * x * x - 2.0 * xy * x * y + xx * y * y) / det).exp()
    });
    let sum = k.sum();
    k.mapv_inplace(|v| v / sum);
    k
}

/// Planes that one batch holds in memory for each thread.
const PLANES_PER_THREAD: usize = 4;

fn run<T: FftNum + ComplexFloat<Real = T>>(
    source: &dyn CubeSource,
    plan: &Plan,
    options: &ConvolveOptions,
    sink: &mut dyn CubeSink,
    notice: &dyn Reporter,
) -> Result<(Vec<Array2<f32>>, Vec<usize>)> {
    let [nc, ny, nx] = source.info().shape();
    // Beyond 6 sigma lies 2e-9 of a Gaussian: less than a rounding of what it is added to.
    let reach = plan.kernels.iter().map(|[xx, _, yy]| (6.0 * xx.max(*yy).sqrt()).ceil() as usize).max().unwrap_or(0);
    let convolver = Convolver::<T>::new(ny, nx, reach);
    let mut workspace = convolver.workspace();
    let transforms: Vec<KernelTransform<T>> = plan
        .kernels
        .iter()
        .map(|k| match options.compat {
            Compat::Phangs => convolver.sampled(&sampled_gaussian(*k), &mut workspace),
            Compat::None => convolver.gaussian(*k),
        })
        .collect();
    let job = Job {
        convolver: &convolver,
        transforms: &transforms,
        options,
        is_flux: matches!(source.info().unit.brightness(), Some(Brightness::JyPerBeam(_))),
        ones: transforms.iter().map(|t| convolver.of_ones(t, &mut workspace)).collect(),
        pixels: [ny, nx],
    };
    let mut seen: Vec<(Option<usize>, Mask)> = Vec::new();
    let (mut planes, mut of_channel): (Vec<Array2<f32>>, Vec<usize>) = (Vec::new(), Vec::new());
    let batch = rayon::current_num_threads() * PLANES_PER_THREAD;
    for start in (0..nc).step_by(batch) {
        notice.check()?;
        notice.progress("convolve", start as u64, nc as u64);
        let channels = start..(start + batch).min(nc);
        // Where each plane is blank; planes blank in the same places share their coverage.
        let finite: Vec<Mask> = channels
            .clone()
            .into_par_iter()
            .map(|z| {
                let (mut buffer, mut mask) = (Vec::new(), Mask::empty([1, ny, nx]));
                crate::data::finite_plane(source.plane(z, &mut buffer)?, mask.words_mut());
                Ok(mask)
            })
            .collect::<Result<_>>()?;
        let mut fresh = Vec::new();
        for (z, mask) in channels.clone().zip(finite) {
            let kernel = plan.channels.of(z).map(|k| k.0);
            let i = seen.iter().rposition(|s| s.0 == kernel && s.1 == mask).unwrap_or_else(|| {
                seen.push((kernel, mask));
                fresh.push(seen.len() - 1);
                seen.len() - 1
            });
            of_channel.push(i);
        }
        let new: Vec<Array2<f32>> =
            fresh.par_iter().map_init(|| convolver.workspace(), |w, i| job.coverage(seen[*i].0, &seen[*i].1, w)).collect();
        planes.extend(new);
        let done: Vec<Array2<f32>> = channels
            .clone()
            .into_par_iter()
            .map_init(
                || (convolver.workspace(), Vec::new()),
                |(w, buffer), z| {
                    let plane = source.plane(z, buffer)?;
                    Ok(job.plane(plane, plan.channels.of(z), &planes[of_channel[z]], w))
                },
            )
            .collect::<Result<_>>()?;
        done.iter().try_for_each(|p| sink.put_plane(p.view()))?;
    }
    Ok((planes, of_channel))
}

struct Job<'a, T: FftNum> {
    convolver: &'a Convolver<T>,
    transforms: &'a [KernelTransform<T>],
    options: &'a ConvolveOptions,
    is_flux: bool,
    /// Convolutions of ones: less than 1 at the edges of the image.
    ones: Vec<Vec<T>>,
    pixels: [usize; 2],
}

impl<T: FftNum + ComplexFloat<Real = T>> Job<'_, T> {
    fn coverage(&self, kernel: Option<usize>, finite: &Mask, w: &mut Workspace<T>) -> Array2<f32> {
        let [ny, nx] = self.pixels;
        let weight = Array2::from_shape_fn((ny, nx), |(y, x)| f32::from(u8::from(finite.get(0, y, x))));
        let Some(i) = kernel else { return weight };
        let mut out = vec![T::zero(); ny * nx];
        self.convolver.convolve(weight.view(), &self.transforms[i], w, &mut out);
        Array2::from_shape_fn((ny, nx), |(y, x)| out[y * nx + x].to_f32().unwrap_or(0.0).clamp(0.0, 1.0))
    }

    fn plane(&self, plane: ArrayView2<'_, f32>, kernel: Option<(usize, f64)>, coverage: &Array2<f32>, w: &mut Workspace<T>) -> Array2<f32> {
        let Some((i, flux)) = kernel else { return plane.to_owned() };
        let [ny, nx] = self.pixels;
        let filled = plane.mapv(|v| if v.is_finite() { v } else { 0.0 });
        let mut out = vec![T::zero(); ny * nx];
        self.convolver.convolve(filled.view(), &self.transforms[i], w, &mut out);
        let factor = if self.is_flux { flux } else { 1.0 };
        let mut result = Array2::from_elem((ny, nx), f32::NAN);
        ndarray::Zip::indexed(&mut result).and(plane).and(coverage).for_each(|(y, x), r, p, c| {
            if self.options.keep_footprint && !p.is_finite() {
                return;
            }
            let weight = match (self.options.blanks, self.options.compat) {
                (Blanks::Fill, _) => 1.0,
                (Blanks::Interpolate, Compat::None) => f64::from(*c),
                // Only blanks inside the image lose their weight; the outside keeps it.
                (Blanks::Interpolate, Compat::Phangs) => 1.0 - (self.ones[i][y * nx + x].to_f64().unwrap_or(1.0) - f64::from(*c)),
            };
            // Where hardly any of the kernel fell on data there is no mean of it.
            if weight > 1e-6 {
                *r = (out[y * nx + x].to_f64().unwrap_or(f64::NAN) * factor / weight) as f32;
            }
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Unit;
    use crate::fits::{ReadOptions, read_cube};
    use crate::notice::Quiet;
    use crate::products::testing::{cube_of, info_of};
    use crate::testdata::shared;
    use crate::units::ARCSEC;

    fn beam(a: f64, b: f64, pa_deg: f64) -> Beam {
        Beam::new(a * ARCSEC, b * ARCSEC, pa_deg.to_radians()).unwrap()
    }

    /// A Gaussian source of the beam's shape, peak 1, one pixel an arcsecond.
    fn source_of(beam: Beam, [ny, nx]: [usize; 2]) -> Array2<f32> {
        let e = beam.ellipse();
        let (xx, xy, yy) = (e.ee / ARCSEC / ARCSEC, -e.en / ARCSEC / ARCSEC, e.nn / ARCSEC / ARCSEC);
        let det = xx * yy - xy * xy;
        Array2::from_shape_fn((ny, nx), |(y, x)| {
            let (v, u) = (y as f64 - (ny / 2) as f64, x as f64 - (nx / 2) as f64);
            (-4.0 * std::f64::consts::LN_2 * (yy * u * u - 2.0 * xy * u * v + xx * v * v) / det).exp() as f32
        })
    }

    /// A point source in Jy/beam keeps its peak when convolved, and takes the shape of the target: to 2e-5, where sampling the
    /// source at pixels (4 across the minor axis) ends.
    #[test]
    fn a_point_source_takes_the_shape_of_the_target_and_keeps_its_peak() {
        for (from, to) in [
            (beam(5.0, 4.0, 30.0), beam(9.0, 7.0, -60.0)),
            (beam(4.0, 4.0, 0.0), beam(4.3, 4.3, 0.0)),
            (beam(6.0, 4.0, 90.0), beam(8.0, 8.0, 0.0)),
        ] {
            let shape = [80, 90];
            let mut cube = cube_of(source_of(from, shape).insert_axis(ndarray::Axis(0)), from);
            cube.info_mut().unit = Unit::new("Jy/beam");
            let out = convolve(&cube, to, &ConvolveOptions::default(), &Quiet::default()).unwrap();
            let expected = source_of(to, shape);
            let worst = out.cube.data().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-5, "{from} -> {to}: {worst}");
            assert_eq!(out.cube.info().beams().largest(), Some(to));
        }
    }

    /// Every channel with its own beam comes to the same target.
    #[test]
    fn beams_of_channels_become_one() {
        let beams = [beam(4.0, 4.0, 0.0), beam(5.0, 4.2, 20.0), beam(4.5, 4.1, 80.0)];
        let shape = [70, 70];
        let mut data = ndarray::Array3::zeros((3, 70, 70));
        for (mut p, b) in data.outer_iter_mut().zip(beams) {
            p.assign(&source_of(b, shape));
        }
        let mut info = info_of([3, 70, 70], None).with_beams(Beams::PerChannel(beams.map(Some).to_vec())).unwrap();
        info.unit = Unit::new("Jy/beam");
        let cube = Cube::new(info, data).unwrap();
        let out = convolve(&cube, beam(7.0, 7.0, 0.0), &ConvolveOptions::default(), &Quiet::default()).unwrap();
        let expected = source_of(beam(7.0, 7.0, 0.0), shape);
        for p in out.cube.data().outer_iter() {
            assert!(p.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-5));
        }
        let e = convolve(&cube, beam(4.6, 4.6, 0.0), &ConvolveOptions::default(), &Quiet::default()).unwrap_err();
        assert!(e.message.contains("channel 1"), "{e}");
    }

    /// A constant stays constant beside blanks and edges where these have no weight, and falls where they count as 0.
    #[test]
    fn blanks_have_no_weight_or_count_as_zero() {
        let mut data = ndarray::Array3::from_elem((2, 40, 41), 3.0);
        data.slice_mut(ndarray::s![.., 10..14, 5..30]).fill(f32::NAN);
        let cube = cube_of(data, beam(3.0, 3.0, 0.0));
        let target = beam(8.0, 8.0, 0.0);
        let run = |o: ConvolveOptions| convolve(&cube, target, &o, &Quiet::default()).unwrap();
        let mean = run(ConvolveOptions::default());
        assert!(mean.cube.data().iter().all(|v| v.is_nan() || (v - 3.0).abs() < 1e-5));
        assert_eq!(mean.cube.data().iter().filter(|v| v.is_nan()).count(), 200);
        let fill = run(ConvolveOptions { blanks: Blanks::Fill, ..Default::default() });
        assert!(fill.cube.data()[[0, 0, 0]] < 1.0 && fill.cube.data()[[0, 15, 20]] < 2.5);
        let wide = run(ConvolveOptions { keep_footprint: false, ..Default::default() });
        assert!(wide.cube.data().iter().all(|v| v.is_finite()));
        assert_eq!(mean.coverage.planes.len(), 1, "channels blank in the same places share their coverage");
        assert!((mean.coverage.plane(1)[[26, 20]] - 1.0).abs() < 1e-3 && mean.coverage.plane(0)[[0, 0]] < 0.4);
    }

    #[test]
    fn a_target_that_is_too_small_says_what_would_do() {
        let cube = cube_of(ndarray::Array3::zeros((1, 20, 20)), beam(5.0, 3.0, 10.0));
        let e = convolve(&cube, beam(4.5, 4.5, 0.0), &ConvolveOptions::default(), &Quiet::default()).unwrap_err();
        assert!(e.message.contains("4.5000") && e.hint.unwrap_or_default().contains("5.0000"), "{}", e.message);
        let near =
            convolve(&cube, beam(5.2, 5.2, 0.0), &ConvolveOptions { tolerance: 0.1, ..Default::default() }, &Quiet::default()).unwrap();
        assert!(!near.changed);
        let none = Cube::new(info_of([1, 20, 20], None), ndarray::Array3::zeros((1, 20, 20))).unwrap();
        assert!(convolve(&none, beam(5.0, 5.0, 0.0), &ConvolveOptions::default(), &Quiet::default()).unwrap_err().message.contains("beam"));
    }

    /// PHANGS pipeline v3 on `s64.fits`: cubes and coverage at 2 and 4 arcsec within the roundings of its FFT in f32, 1e-6 of the peak.
    #[test]
    fn compat_cubes_are_those_of_the_phangs_pipeline() {
        for (tag, fwhm) in [("2as", 2.0), ("4as", 4.0)] {
            let read = |name: &str| Some(read_cube(&shared(name)?, &ReadOptions::default(), &Quiet::default()).unwrap());
            let (Some(cube), Some(expected), Some(coverage)) = (
                read("reference/phangs/s64.fits"),
                read(&format!("reference/phangs/derived_s64/s64_{tag}.fits")),
                read(&format!("reference/phangs/derived_s64/s64_{tag}_coverage.fits")),
            ) else {
                return;
            };
            let options = ConvolveOptions { compat: Compat::Phangs, tolerance: 0.1, ..Default::default() };
            let out = convolve(&cube, Beam::round(fwhm * ARCSEC).unwrap(), &options, &Quiet::default()).unwrap();
            let peak = expected.data().iter().copied().fold(0.0, f32::max);
            for (a, b) in out.cube.data().iter().zip(expected.data()) {
                assert!(a.is_nan() == b.is_nan() && (a.is_nan() || (a - b).abs() < 1e-6 * peak), "{tag}: {a} {b}");
            }
            for (z, p) in coverage.data().outer_iter().enumerate() {
                assert!(p.iter().zip(out.coverage.plane(z)).all(|(a, b)| (a - b).abs() < 2e-7), "{tag}");
            }
        }
    }
}
