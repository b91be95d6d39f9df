//! Arrays of antennas: logarithmic spirals on the plain of ALMA.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::data::Antenna;

/// Centre of the array, ITRF, metres, as casacore's list of observatories has it for ALMA.
const SITE_M: [f64; 3] = [2_225_142.18, -5_440_307.37, -2_481_029.85];
/// No two dishes of 12 m stand closer.
const CLOSEST_M: f64 = 15.0;

/// `n` antennas on three arms of a spiral, the longest baseline about `longest_m`.
pub fn spiral(n: usize, longest_m: f64, diameter_m: f64, rng: &mut ChaCha8Rng) -> Vec<Antenna> {
    // Three arms: the tips form a triangle of side sqrt(3) times the radius.
    let (inner, outer) = ((longest_m / 60.0).max(CLOSEST_M), longest_m / 1.8);
    let mut places: Vec<[f64; 3]> = Vec::with_capacity(n);
    for i in 0..n {
        let t = if n > 1 { i as f64 / (n - 1) as f64 } else { 0.0 };
        let mut place = [0.0; 3];
        // Tried again a little farther out until there is room.
        for attempt in 0..100 {
            let radius =
                inner * (outer / inner).powf(t) * (1.0 + 0.12 * (rng.random::<f64>() - 0.5)) + 0.5 * CLOSEST_M * f64::from(attempt);
            let angle = std::f64::consts::TAU * (i % 3) as f64 / 3.0 + 2.2 * t + 0.5 * (rng.random::<f64>() - 0.5);
            place = [radius * angle.sin(), radius * angle.cos(), 4.0 * (rng.random::<f64>() - 0.5)];
            if places.iter().all(|p| (p[0] - place[0]).hypot(p[1] - place[1]) >= CLOSEST_M) {
                break;
            }
        }
        places.push(place);
    }
    let antenna = |(i, p): (usize, &[f64; 3])| Antenna {
        name: format!("DA{:02}", 41 + i),
        station: pad(p),
        position_m: itrf_from_local(*p),
        diameter_m,
    };
    places.iter().enumerate().map(antenna).collect()
}

/// Pads are named after their place, so that antennas at different places never share one.
fn pad(p: &[f64; 3]) -> String {
    format!("E{:+.0}N{:+.0}", p[0], p[1])
}

/// Geocentric longitude and latitude of the site.
fn site_angles() -> (f64, f64) {
    let [x, y, z] = SITE_M;
    (y.atan2(x), z.atan2(x.hypot(y)))
}

/// From metres to the east, north and up of the site.
fn itrf_from_local([e, n, u]: [f64; 3]) -> [f64; 3] {
    let (lon, lat) = site_angles();
    let ((sl, cl), (sb, cb)) = (lon.sin_cos(), lat.sin_cos());
    let local = [-sl * e - sb * cl * n + cb * cl * u, cl * e - sb * sl * n + cb * sl * u, cb * n + sb * u];
    std::array::from_fn(|i| SITE_M[i] + local[i])
}

/// Hour angle and elevation, rad, of a direction given in ITRF.
pub fn hour_angle_elevation(source: [f64; 3]) -> (f64, f64) {
    let (lon, lat) = site_angles();
    let hour_angle = lon - source[1].atan2(source[0]);
    let up = [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()];
    let sine: f64 = (0..3).map(|i| up[i] * source[i]).sum();
    let tau = std::f64::consts::TAU;
    ((hour_angle + tau / 2.0).rem_euclid(tau) - tau / 2.0, sine.asin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn dishes_keep_their_distance_and_baselines_their_limit() {
        for longest in [160.0, 400.0, 3000.0, 16000.0] {
            let antennas = spiral(43, longest, 12.0, &mut ChaCha8Rng::seed_from_u64(1));
            let mut lengths = Vec::new();
            for (i, a) in antennas.iter().enumerate() {
                for b in &antennas[..i] {
                    let d: f64 = (0..3).map(|k| (a.position_m[k] - b.position_m[k]).powi(2)).sum();
                    lengths.push(d.sqrt());
                }
            }
            let (min, max) = lengths.iter().fold((f64::MAX, 0.0f64), |(lo, hi), d| (lo.min(*d), hi.max(*d)));
            assert!(min >= CLOSEST_M * 0.99, "{longest}: {min}");
            assert!(max > 0.7 * longest && max < 2.0 * longest.max(400.0), "{longest}: {max}");
        }
    }
}
