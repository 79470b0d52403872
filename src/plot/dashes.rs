//! Lines that are dashed, so that they are told apart without colours too.

use super::range::Point;

/// Lengths of lines and gaps in turn, in pixels of the finished chart; the first one is a whole line.
pub(super) const DASHES: [&[u32]; 5] = [&[], &[10, 5], &[3, 4], &[14, 4, 3, 4], &[20, 7]];

/// The drawn pieces of the line through `points`. `lengths` are in pixels, of which a unit of each axis has `per_unit`.
pub(super) fn dashed(points: &[Point], lengths: &[f64], per_unit: (f64, f64)) -> Vec<Vec<Point>> {
    if lengths.is_empty() || points.len() < 2 {
        return vec![points.to_vec()];
    }
    let (mut pieces, mut piece) = (Vec::new(), vec![points[0]]);
    // the length in turn, and what is left of it
    let (mut turn, mut left) = (0, lengths[0]);
    for ends in points.windows(2) {
        let (from, to) = (ends[0], ends[1]);
        let along = (to.0 - from.0, to.1 - from.1);
        let all = (along.0 * per_unit.0).hypot(along.1 * per_unit.1);
        let mut done = 0.0;
        while all - done > left {
            done += left;
            let part = done / all;
            let at = (from.0 + part * along.0, from.1 + part * along.1);
            if turn % 2 == 0 {
                piece.push(at);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![at];
            }
            turn = (turn + 1) % lengths.len();
            left = lengths[turn];
        }
        left -= all - done;
        if turn % 2 == 0 {
            piece.push(to);
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_have_their_lengths_along_a_line_with_corners() {
        // 10 to the right, then 10 up, where a unit is one and a half pixels
        let line = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)];
        let pieces = dashed(&line, &[6.0, 3.0], (1.0, 1.5));
        let expected = [
            vec![(0.0, 0.0), (6.0, 0.0)],
            vec![(9.0, 0.0), (10.0, 0.0), (10.0, 5.0 / 1.5)],
            vec![(10.0, 8.0 / 1.5), (10.0, 14.0 / 1.5)],
        ];
        assert_eq!(pieces.len(), expected.len(), "{pieces:?}");
        for (piece, expected) in pieces.iter().zip(&expected) {
            assert_eq!(piece.len(), expected.len(), "{piece:?}");
            for (a, b) in piece.iter().zip(expected) {
                assert!((a.0 - b.0).abs() + (a.1 - b.1).abs() < 1e-9, "{pieces:?}");
            }
        }
        assert_eq!(dashed(&line, &[], (1.0, 1.0)), [line.to_vec()]);
        assert_eq!(
            dashed(&line[..1], &[1.0, 1.0], (1.0, 1.0)),
            [line[..1].to_vec()]
        );
    }
}
