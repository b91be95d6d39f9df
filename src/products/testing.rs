//! Small cubes for the tests of this room.

use ndarray::Array3;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use crate::data::{Beam, Beams, Cube, CubeInfo, Unit};
use crate::sky::{Celestial, Direction, Frame, Projection, SpectralAxis, SpectralKind};
use crate::units::ARCSEC;

/// One pixel an arcsecond, 2.5 km/s a channel from -50 km/s, in K.
pub(crate) fn info_of([nc, ny, nx]: [usize; 3], beam: Option<Beam>) -> CubeInfo {
    let center = Direction::new(1.0, 0.3, Frame::Icrs);
    let sky = Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, center, ARCSEC, ((nx / 2) as f64, (ny / 2) as f64)).unwrap();
    let axis = SpectralAxis::new(SpectralKind::Radio, -50e3, 2500.0, 1.0, nc).unwrap().with_rest(230.538e9).unwrap();
    let info = CubeInfo::new(sky, axis, ny, nx, Unit::new("K")).unwrap();
    match beam {
        Some(b) => info.with_beams(Beams::One(b)).unwrap(),
        None => info,
    }
}

/// A cube of these values with one beam.
pub(crate) fn cube_of(data: Array3<f32>, beam: Beam) -> Cube {
    let (c, y, x) = data.dim();
    Cube::new(info_of([c, y, x], Some(beam)), data).unwrap()
}

/// Standard normal noise.
pub(crate) fn normal([c, y, x]: [usize; 3], seed: u64) -> Array3<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    Array3::from_shape_simple_fn((c, y, x), || StandardNormal.sample(&mut rng))
}
