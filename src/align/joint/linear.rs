//! Small dense matrices.

/// Lower Cholesky factor of a symmetric matrix, if it is positive definite.
fn cholesky(a: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = a.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let rest: f64 = a[i][j] - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            if i == j {
                if !(rest > 1e-14 * a[i][i].abs()) {
                    return None;
                }
                l[i][i] = rest.sqrt();
            } else {
                l[i][j] = rest / l[j][j];
            }
        }
    }
    Some(l)
}

/// Solves L Lᵀ x = b.
fn solve(l: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let n = l.len();
    let mut x = b.to_vec();
    for i in 0..n {
        x[i] = (x[i] - (0..i).map(|k| l[i][k] * x[k]).sum::<f64>()) / l[i][i];
    }
    for i in (0..n).rev() {
        x[i] = (x[i] - (i + 1..n).map(|k| l[k][i] * x[k]).sum::<f64>()) / l[i][i];
    }
    x
}

/// Inverse of a symmetric positive definite matrix of any scaling.
pub(super) fn invert(a: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = a.len();
    let scale: Vec<f64> = (0..n).map(|i| a[i][i]).map(|d| if d > 0.0 { 1.0 / d.sqrt() } else { f64::NAN }).collect();
    let scaled: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| a[i][j] * scale[i] * scale[j]).collect()).collect();
    let l = cholesky(&scaled)?;
    let column = |j: usize| solve(&l, &(0..n).map(|i| if i == j { 1.0 } else { 0.0 }).collect::<Vec<_>>());
    let columns: Vec<Vec<f64>> = (0..n).map(column).collect();
    Some((0..n).map(|i| (0..n).map(|j| columns[j][i] * scale[i] * scale[j]).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let a = vec![vec![4e20, 2e10, 0.5], vec![2e10, 5.0, 1e-10], vec![0.5, 1e-10, 3e-20]];
        let inverse = invert(&a).unwrap();
        for i in 0..3 {
            for j in 0..3 {
                let sum: f64 = (0..3).map(|k| a[i][k] * inverse[k][j]).sum();
                let scale = (a[i][i] * inverse[j][j]).sqrt();
                assert!((sum - f64::from(i == j)).abs() < 1e-9 * scale.max(1.0), "{i} {j} {sum}");
            }
        }
        assert!(invert(&[vec![1.0, 2.0], vec![2.0, 1.0]]).is_none());
    }
}
