//! Gridding and degridding of one block of visibilities in memory: million samples a second of CPU time, for one precision,
//! accuracy and number of threads; `gridding.py` runs it beside ducc0 on the same samples.
//!
//! usage: cargo bench --bench gridding -- SAMPLES.npz [--single] [--accuracy 1e-4] [--w] [--npix 512] [--cell ARCSEC] [--repeat 5]
//!          [--image OUT.npy]
//!
//! SAMPLES holds `uvw` [row][3] in metres, `freq` in Hz, `vis` [row][chan] (complex64) and `weight` [row][chan] (float32, 0 where
//! flagged). Threads by RAYON_NUM_THREADS. Prints one line: grid, grid with PSF, predict, each as the least CPU and wall seconds.

use std::time::Instant;

use ndarray::{Array1, Array2};
use ndarray_npy::NpzReader;
use num_complex::{Complex, Complex32};
use phangs_script::gridding::{Content, Float, Geometry, Oversampling, Samples, WideGridder};
use phangs_script::units::{ARCSEC, C_M_S};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

struct Request {
    accuracy: f64,
    w: bool,
    npix: usize,
    cell_rad: f64,
    repeat: usize,
    image: Option<String>,
}

struct Block {
    uvw_s: Vec<[f64; 3]>,
    freq_hz: Vec<f64>,
    vis: Vec<Complex32>,
    weight: Vec<f32>,
}

fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let Some(path) = args.first().filter(|a| !a.starts_with("--")) else {
        println!("gridding: no samples given, nothing to do");
        return Ok(());
    };
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let number = |name: &str, default: f64| value(name).map_or(Ok(default), str::parse);
    let request = Request {
        accuracy: number("--accuracy", 1e-4)?,
        w: args.iter().any(|a| a == "--w"),
        npix: number("--npix", 512.0)? as usize,
        cell_rad: number("--cell", 0.02)? * ARCSEC,
        repeat: number("--repeat", 5.0)? as usize,
        image: value("--image").map(String::from),
    };
    let block = load(path)?;
    if args.iter().any(|a| a == "--single") { run::<f32>(&block, &request) } else { run::<f64>(&block, &request) }
}

fn load(path: &str) -> Fallible<Block> {
    let mut file = NpzReader::new(std::fs::File::open(path)?)?;
    let uvw: Array2<f64> = file.by_name("uvw")?;
    let freq: Array1<f64> = file.by_name("freq")?;
    let vis: Array2<Complex32> = file.by_name("vis")?;
    let weight: Array2<f32> = file.by_name("weight")?;
    Ok(Block {
        uvw_s: uvw.rows().into_iter().map(|r| [r[0] / C_M_S, r[1] / C_M_S, r[2] / C_M_S]).collect(),
        freq_hz: freq.to_vec(),
        vis: vis.into_raw_vec_and_offset().0,
        weight: weight.into_raw_vec_and_offset().0,
    })
}

/// CPU time of the process, s.
fn cpu_s() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + 1e-9 * t.tv_nsec as f64
}

/// Least CPU and wall seconds of several runs, and the last result.
fn least<R>(repeat: usize, mut work: impl FnMut() -> Fallible<R>) -> Fallible<(f64, f64, R)> {
    let mut best = (f64::INFINITY, f64::INFINITY, None);
    for _ in 0..repeat.max(1) {
        let (cpu, clock) = (cpu_s(), Instant::now());
        let result = work()?;
        best = (best.0.min(cpu_s() - cpu), best.1.min(clock.elapsed().as_secs_f64()), Some(result));
    }
    best.2.map(|r| (best.0, best.1, r)).ok_or_else(|| "nothing was run".into())
}

fn run<T: Float>(block: &Block, request: &Request) -> Fallible<()>
where
    Complex<T>: bytemuck::Pod,
{
    let weight: Vec<T> = block.weight.iter().map(|w| T::of(f64::from(*w))).collect();
    let vis: Vec<Complex<T>> = block.vis.iter().map(|v| Complex::new(T::of(f64::from(v.re)), T::of(f64::from(v.im)))).collect();
    let samples = Samples { uvw_s: &block.uvw_s, freq_hz: &block.freq_hz, weight: &weight };
    let highest = block.freq_hz.iter().copied().fold(0.0, f64::max);
    let w_max = request.w.then(|| highest * block.uvw_s.iter().map(|r| r[2].abs()).fold(0.0, f64::max));
    let geometry = Geometry::centered(request.npix, request.npix, request.cell_rad);
    let gridder = WideGridder::<T>::new(geometry, request.accuracy, Oversampling::Two, w_max)?;
    let million = weight.iter().filter(|w| w.f64() != 0.0).count() as f64 / 1e6;
    let grid = |content: Content| -> Fallible<(Vec<T>, Vec<T>)> {
        let mut plane = gridder.plane(content);
        gridder.add(&mut plane, &samples, Some(&vis), true)?;
        Ok(gridder.image_and_psf(&mut plane, true))
    };
    let (cpu, wall, (image, _)) = least(request.repeat, || grid(Content::Vis))?;
    let (both_cpu, both_wall, _) = least(request.repeat, || grid(Content::VisAndPsf))?;
    let mut predicted = vec![Complex::new(T::of(0.0), T::of(0.0)); vis.len()];
    let (out_cpu, out_wall, ()) = least(request.repeat, || {
        let plane = gridder.prepare(&image, None, true)?;
        Ok(gridder.predict(&plane, &samples, &mut predicted, true)?)
    })?;
    println!(
        "{million:.3} Mvis kernel {} terms {} grid {cpu:.4} {wall:.4} with_psf {both_cpu:.4} {both_wall:.4} predict {out_cpu:.4} {out_wall:.4}",
        gridder.width(),
        gridder.n_terms(),
    );
    if let Some(path) = &request.image {
        let image: Vec<f64> = image.iter().map(|v| v.f64()).collect();
        ndarray_npy::write_npy(path, &Array2::from_shape_vec((request.npix, request.npix), image)?)?;
        let vis: Vec<num_complex::Complex64> = predicted.iter().map(|v| Complex::new(v.re.f64(), v.im.f64())).collect();
        ndarray_npy::write_npy(format!("{path}.vis.npy"), &Array1::from_vec(vis))?;
    }
    Ok(())
}
