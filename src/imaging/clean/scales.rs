//! Shapes of multiscale components: tapered paraboloids (Cornwell 2008, IEEE J. Sel. Top. Signal Process. 2, 793).

use ndarray::{Array2, ArrayView2, s};
use num_complex::Complex;

use crate::gridding::{RealFft2, good_size};

/// A component shape of unit volume; radius 0 is a point.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// Radius, pixels.
    pub radius: f64,
    /// Values, [y, x], odd square about the middle.
    pub shape: Array2<f32>,
}

impl Scale {
    /// (1 - (r/R)²) times a prolate spheroidal taper, normalized to unit volume.
    pub fn new(radius: f64) -> Scale {
        if radius < 0.5 {
            return Scale { radius: 0.0, shape: Array2::ones((1, 1)) };
        }
        let half = radius.ceil() as usize;
        let at = |y: usize, x: usize| (x as f64 - half as f64).hypot(y as f64 - half as f64) / radius;
        let value = |nu: f64| if nu >= 1.0 { 0.0 } else { (1.0 - nu * nu) * spheroidal(nu) };
        let shape = Array2::from_shape_fn((2 * half + 1, 2 * half + 1), |(y, x)| value(at(y, x)));
        let volume = shape.sum();
        Scale { radius, shape: shape.mapv(|v| (v / volume) as f32) }
    }
    /// True for a point.
    pub fn is_point(&self) -> bool {
        self.radius == 0.0
    }
    /// Pixels from the middle to the edge.
    pub fn half(&self) -> usize {
        self.shape.nrows() / 2
    }
}

/// Zeroth-order prolate spheroidal function with m = 6, alpha = 1 (Schwab 1984).
fn spheroidal(nu: f64) -> f64 {
    const P: [[f64; 5]; 2] = [
        [8.203_343e-2, -3.644_705e-1, 6.278_660e-1, -5.335_581e-1, 2.312_756e-1],
        [4.028_559e-3, -3.697_768e-2, 1.021_332e-1, -1.201_436e-1, 6.412_774e-2],
    ];
    const Q: [[f64; 3]; 2] = [[1.0, 8.212_018e-1, 2.078_043e-1], [1.0, 9.599_102e-1, 2.918_724e-1]];
    let (part, end) = if nu < 0.75 { (0, 0.75) } else { (1, 1.0) };
    let x = nu * nu - end * end;
    let poly = |c: &[f64]| c.iter().rev().fold(0.0, |s, c| s * x + c);
    poly(&P[part]) / poly(&Q[part])
}

/// The scales of a deconvolution with their transforms, shared by all planes.
pub(super) struct ScaleSet {
    pub scales: Vec<Scale>,
    /// What the rank of each scale is multiplied by.
    pub bias: Vec<f32>,
    convolver: Convolver,
    /// Of each scale; nothing for points.
    spectrum: Vec<Spectrum>,
}

impl ScaleSet {
    /// Scales of these radii for images of `ny` x `nx` pixels; `small_scale_bias` lowers the rank of large ones.
    pub fn new(radii: &[f64], small_scale_bias: f64, (ny, nx): (usize, usize)) -> ScaleSet {
        let scales: Vec<Scale> = radii.iter().map(|r| Scale::new(*r)).collect();
        let half = scales.iter().map(Scale::half).max().unwrap_or(0);
        let largest = scales.iter().map(|s| s.radius).fold(0.0, f64::max).max(1e-9);
        let bias = scales.iter().map(|s| (1.0 - small_scale_bias * s.radius / largest) as f32).collect();
        let convolver = Convolver::new(ny, nx, 2 * half);
        let spectrum = scales.iter().map(|s| if s.is_point() { Vec::new() } else { convolver.scale(s) }).collect();
        ScaleSet { scales, bias, convolver, spectrum }
    }

    /// Number of scales.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// True if components are points only: nothing needs to be convolved.
    pub fn all_points(&self) -> bool {
        self.scales.iter().all(Scale::is_point)
    }

    /// The pixels of `area` of the image seen through each scale.
    pub fn filtered(&self, image: ArrayView2<f32>, area: Area) -> Vec<Array2<f32>> {
        let spectrum = if self.all_points() { Vec::new() } else { self.convolver.image(image) };
        let through = |(scale, kernel): (&Scale, &Spectrum)| {
            if scale.is_point() { area.of_image(image).to_owned() } else { self.convolver.convolved(&spectrum, &[kernel], area) }
        };
        self.scales.iter().zip(&self.spectrum).map(through).collect()
    }

    /// A PSF seen through each pair of scales, in the order of [`pair`].
    pub fn pairs(&self, psf: ArrayView2<f32>) -> Vec<Array2<f32>> {
        let spectrum = self.convolver.image(psf);
        let kernels =
            |a: usize, b: usize| -> Vec<&Spectrum> { [a, b].into_iter().map(|i| &self.spectrum[i]).filter(|k| !k.is_empty()).collect() };
        let through = |(a, b): (usize, usize)| match kernels(a, b).as_slice() {
            [] => psf.to_owned(),
            some => self.convolver.convolved(&spectrum, some, Area::whole(psf.dim())),
        };
        (0..self.len()).flat_map(|a| (0..=a).map(move |b| (a, b))).map(through).collect()
    }
}

/// Place of a pair of scales among all pairs.
pub(super) fn pair(a: usize, b: usize) -> usize {
    let (a, b) = (a.max(b), a.min(b));
    a * (a + 1) / 2 + b
}

/// A box of pixels; ends are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub y0: usize,
    pub y1: usize,
    pub x0: usize,
    pub x1: usize,
}

impl Area {
    /// All of an image.
    pub fn whole((ny, nx): (usize, usize)) -> Area {
        Area { y0: 0, y1: ny, x0: 0, x1: nx }
    }

    /// The box around a mask; `None` if it has no pixel.
    pub fn around(mask: &Array2<bool>) -> Option<Area> {
        let mut area: Option<Area> = None;
        for (y, row) in mask.rows().into_iter().enumerate() {
            let (Some(first), Some(last)) = (row.iter().position(|m| *m), row.iter().rposition(|m| *m)) else { continue };
            let a = area.get_or_insert(Area { y0: y, y1: y + 1, x0: first, x1: last + 1 });
            *a = Area { y0: a.y0, y1: y + 1, x0: a.x0.min(first), x1: a.x1.max(last + 1) };
        }
        area
    }

    /// The pixels of an image in the box.
    pub fn of_image<'a, A>(&self, image: ArrayView2<'a, A>) -> ArrayView2<'a, A> {
        image.slice_move(s![self.y0..self.y1, self.x0..self.x1])
    }

    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        (self.y1 - self.y0, self.x1 - self.x0)
    }
}

/// Convolution with scales by Fourier transform, for images of one size.
pub(super) struct Convolver {
    ny: usize,
    py: usize,
    px: usize,
    fft: RealFft2<f32>,
}

/// A transformed image or scale.
pub(super) type Spectrum = Vec<Complex<f32>>;

impl Convolver {
    /// For images of `ny` x `nx` pixels and kernels that reach `half` pixels from their middles: what wraps around falls into
    /// the margin.
    pub fn new(ny: usize, nx: usize, half: usize) -> Convolver {
        let (py, px) = (good_size(ny + half), good_size(nx + half));
        Convolver { ny, py, px, fft: RealFft2::new(py, px) }
    }

    /// Transform of an image.
    pub fn image(&self, image: ArrayView2<f32>) -> Spectrum {
        let mut padded = vec![0f32; self.py * self.px];
        for (row, out) in image.rows().into_iter().zip(padded.chunks_mut(self.px)) {
            out.iter_mut().zip(row).for_each(|(o, v)| *o = *v);
        }
        let mut out = vec![Complex::default(); self.py * self.fft.n_columns()];
        self.fft.forward(&mut padded, &mut out, |row| row >= self.ny);
        out
    }

    /// Transform of a scale about its middle.
    pub fn scale(&self, scale: &Scale) -> Spectrum {
        let mut padded = vec![0f32; self.py * self.px];
        let half = scale.half();
        for ((y, x), v) in scale.shape.indexed_iter() {
            padded[(y + self.py - half) % self.py * self.px + (x + self.px - half) % self.px] = *v;
        }
        let mut out = vec![Complex::default(); self.py * self.fft.n_columns()];
        self.fft.forward(&mut padded, &mut out, |_| false);
        out
    }

    /// The pixels of `area` of the image convolved with all these scales.
    pub fn convolved(&self, image: &Spectrum, scales: &[&Spectrum], area: Area) -> Array2<f32> {
        let scale = 1.0 / (self.py * self.px) as f32;
        let mut product: Spectrum = image.iter().map(|v| *v * scale).collect();
        for s in scales {
            product.iter_mut().zip(s.iter()).for_each(|(p, s)| *p *= *s);
        }
        let mut padded = vec![0f32; self.py * self.px];
        self.fft.inverse(&mut product, &mut padded, |row| !(area.y0..area.y1).contains(&row));
        Array2::from_shape_fn(area.dim(), |(y, x)| padded[(y + area.y0) * self.px + x + area.x0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_unit_volume_and_fall_to_nothing() {
        for radius in [0.0, 1.0, 5.0, 15.5] {
            let s = Scale::new(radius);
            assert!((s.shape.sum() - 1.0).abs() < 1e-5);
            assert!(s.radius == 0.0 || s.shape[[0, 0]] == 0.0);
            let middle = s.shape[[s.half(), s.half()]];
            assert!(s.shape.iter().all(|v| *v <= middle && *v >= 0.0));
        }
    }

    #[test]
    fn convolution_with_a_scale_spreads_a_point_into_it() {
        let scale = Scale::new(4.0);
        let convolver = Convolver::new(31, 28, 2 * scale.half());
        let mut image = Array2::zeros((31, 28));
        image[[3, 20]] = 2.0;
        let out = convolver.convolved(&convolver.image(image.view()), &[&convolver.scale(&scale)], Area::whole((31, 28)));
        for ((y, x), v) in out.indexed_iter() {
            let (dy, dx) = (y as i64 - 3 + 4, x as i64 - 20 + 4);
            let expected = if (0..9).contains(&dy) && (0..9).contains(&dx) { 2.0 * scale.shape[[dy as usize, dx as usize]] } else { 0.0 };
            assert!((v - expected).abs() < 1e-6);
        }
    }
}
