//! The arithmetic of a chart: smoothing, the visible range, and what of a line is inside it.

/// `(x, y)` of one point.
pub(super) type Point = (f64, f64);

/// The points that can be shown.
pub(super) fn finite(points: &[Point]) -> impl Iterator<Item = Point> + '_ {
    points.iter().copied().filter(is_finite)
}

/// Whether both coordinates are finite; 1e30 and beyond counts as infinite, so that nothing computed from
/// two points can overflow.
fn is_finite(&(x, y): &Point) -> bool {
    x.abs() < 1e30 && y.abs() < 1e30
}

/// The interval of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// From the smallest to the largest of `values`, `None` if there is none.
    fn around(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values.into_iter().fold(None, |interval, value| {
            let Interval { low, high } = interval.unwrap_or(Interval {
                low: value,
                high: value,
            });
            Some(Interval {
                low: low.min(value),
                high: high.max(value),
            })
        })
    }

    pub fn length(self) -> f64 {
        self.high - self.low
    }

    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Wider by `share` of its length on both sides; one that is too short to have distinct ticks is widened
    /// in proportion to its values.
    fn padded(self, share: f64) -> Self {
        let size = self.low.abs().max(self.high.abs());
        let pad = match size {
            _ if self.length() > (1e-9 * size).max(1e-12) => share * self.length(),
            _ if size > 1e-9 => 0.05 * size,
            _ => 0.5,
        };
        Self {
            low: self.low - pad,
            high: self.high + pad,
        }
    }
}

/// How many times as long as that of the middle run an axis of several runs may get.
const FAR: f64 = 4.0;

/// The axes that show a chart's points well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    pub x: Interval,
    pub y: Interval,
    /// Whether there are values above and below `y` that are not shown.
    pub clipped: (bool, bool),
}

impl View {
    /// Axes for `points`, all finite; `None` if there is none.
    ///
    /// The first losses of a run can be a thousand times those that matter. So the y axis is that of the
    /// 1st to 99th percentile of what comes after the first tenth of the x axis, unless all values fit
    /// into twice its length, when nothing is left out.
    pub fn of(points: impl IntoIterator<Item = Point>) -> Option<Self> {
        let points: Vec<Point> = points.into_iter().collect();
        let x = Interval::around(points.iter().map(|point| point.0))?;
        let all = Interval::around(points.iter().map(|point| point.1))?;
        let start = x.low + 0.1 * x.length();
        let mut late: Vec<f64> = points
            .iter()
            .filter(|point| point.0 >= start)
            .map(|point| point.1)
            .collect();
        late.sort_unstable_by(f64::total_cmp);
        // rounded outwards, so that few values are all kept
        let last = late.len() - 1;
        let core = Interval {
            low: late[last / 100],
            high: late[(last * 99).div_ceil(100)],
        };
        let clipped = (
            all.high > core.high + core.length(),
            all.low < core.low - core.length(),
        );
        let y = Interval {
            low: if clipped.1 { core.low } else { all.low },
            high: if clipped.0 { core.high } else { all.high },
        };
        Some(Self {
            x: x.padded(0.0),
            y: y.padded(0.05),
            clipped,
        })
    }
}

impl View {
    /// Axes for several runs that each have a view of their own. Those that end far above the others, as runs that went
    /// wrong do, are left out, so that the others are seen: no more than half of them, and what is left says so.
    pub fn together(views: &[View]) -> Option<Self> {
        let x = Interval::around(views.iter().flat_map(|view| [view.x.low, view.x.high]))?;
        let low = views
            .iter()
            .map(|view| view.y.low)
            .fold(f64::INFINITY, f64::min);
        let mut tops: Vec<f64> = views.iter().map(|view| view.y.high).collect();
        tops.sort_unstable_by(f64::total_cmp);
        let limit = low + FAR * (tops[(tops.len() - 1) / 2] - low);
        let above = tops.partition_point(|top| *top <= limit);
        let high = tops[above.saturating_sub(1)];
        let any = |of: fn(&View) -> bool| views.iter().any(of);
        Some(Self {
            x,
            y: Interval { low, high },
            clipped: (
                above < tops.len() || any(|view| view.clipped.0),
                any(|view| view.clipped.1),
            ),
        })
    }
}

/// Mean over each finite point and its `half` finite neighbours on both sides, at most `count` points evenly
/// chosen.
///
/// Near the start, where losses fall steeply, the window shrinks on both sides alike, so that the
/// curve is not pulled down; near the end, where they are flat, it shrinks only on the side that has no points.
pub(super) fn smoothed(points: &[Point], half: usize, count: usize) -> Vec<Point> {
    let finite: Vec<Point> = finite(points).collect();
    let last = finite.len().saturating_sub(1);
    let mean = |i: usize| {
        let before = half.min(i);
        let after = before.min(last - i);
        let window = &finite[i - before..=i + after];
        let sum: f64 = window.iter().map(|point| point.1).sum();
        (finite[i].0, sum / window.len() as f64)
    };
    let chosen = finite.len().min(count);
    (0..chosen)
        .map(|nth| mean(last * nth / (chosen - 1).max(1)))
        .collect()
}

/// The pieces of the line through `points` whose y is in `range`; points that are not finite break the line.
pub(super) fn visible(points: &[Point], range: Interval) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for ends in points.windows(2) {
        let Some((a, b)) = clip(ends[0], ends[1], range) else {
            continue;
        };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&a) => piece.push(b),
            _ => pieces.push(vec![a, b]),
        }
    }
    pieces
}

/// The part of the segment from `a` to `b` whose y is in `range`.
fn clip(a: Point, b: Point, range: Interval) -> Option<(Point, Point)> {
    let finite = is_finite(&a) && is_finite(&b);
    let outside = |bound: fn(f64, f64) -> bool, limit| bound(a.1, limit) && bound(b.1, limit);
    if !finite || outside(|y, high| y > high, range.high) || outside(|y, low| y < low, range.low) {
        return None;
    }
    let inside = |end: Point, other: Point| {
        let y = end.1.clamp(range.low, range.high);
        if y == end.1 {
            return end;
        }
        (
            end.0 + (other.0 - end.0) * (y - end.1) / (other.1 - end.1),
            y,
        )
    };
    Some((inside(a, b), inside(b, a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exploding_first_values_do_not_set_the_axis() {
        let loss = |i: u32| {
            if i < 3 {
                5000.0
            } else {
                4.0 - 0.01 * f64::from(i)
            }
        };
        let view = View::of((0..100).map(|i| (f64::from(i), loss(i)))).unwrap();
        assert_eq!(view.clipped, (true, false));
        assert!(view.y.high < 5.0 && view.y.low < 3.01, "{view:?}");
        assert_eq!((view.x.low, view.x.high), (0.0, 99.0));
    }

    #[test]
    fn ordinary_curves_are_shown_whole() {
        let view = View::of((0..100).map(|i| (f64::from(i), 1.0 - 0.01 * f64::from(i)))).unwrap();
        assert_eq!(view.clipped, (false, false));
        assert!(view.y.contains(1.0) && view.y.contains(0.01));
    }

    #[test]
    fn points_that_are_not_finite_are_left_out() {
        let points = [(0.0, f64::NAN), (f64::INFINITY, 1.0), (1.0, 2.0)];
        assert_eq!(finite(&points).collect::<Vec<_>>(), [(1.0, 2.0)]);
        let view = View::of(finite(&points)).unwrap();
        assert!(view.y.contains(2.0) && view.y.length() > 0.0 && view.x.length() > 0.0);
        assert_eq!(View::of([]), None);
    }

    #[test]
    fn a_run_far_above_the_others_does_not_set_the_axis() {
        let run = |top: f64| View::of([(0.0, top), (50.0, 0.9 * top), (100.0, 0.5 * top)]).unwrap();
        let view = View::together(&[run(4.0), run(900.0), run(5.0)]).unwrap();
        assert!(view.y.contains(5.0) && view.y.high < 20.0, "{view:?}");
        assert!(view.clipped.0);
        let view = View::together(&[run(4.0), run(8.0)]).unwrap();
        assert!(view.y.contains(8.0) && !view.clipped.0, "{view:?}");
        // a short run is seen whole
        let short = View::of([(0.0, 6.0), (1.0, 5.5), (2.0, 5.0)]).unwrap();
        assert!(View::together(&[run(4.0), short]).unwrap().y.contains(6.0));
        assert_eq!(View::together(&[]), None);
    }

    #[test]
    fn lines_end_where_they_leave_the_axis() {
        let range = Interval {
            low: 0.0,
            high: 1.0,
        };
        let line = [
            (0.0, 3.0),
            (2.0, 0.5),
            (3.0, 0.5),
            (4.0, f64::NAN),
            (5.0, -1.0),
            (6.0, 1.0),
        ];
        let pieces = visible(&line, range);
        assert_eq!(
            pieces,
            [
                vec![(1.6, 1.0), (2.0, 0.5), (3.0, 0.5)],
                vec![(5.5, 0.0), (6.0, 1.0)]
            ]
        );
    }

    #[test]
    fn smoothing_keeps_straight_lines_and_removes_alternation() {
        let straight: Vec<Point> = (0..20)
            .map(|i| (f64::from(i), 2.0 * f64::from(i)))
            .collect();
        assert_eq!(smoothed(&straight, 3, 100)[..17], straight[..17]);
        let zigzag: Vec<Point> = (0..21).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let middle = smoothed(&zigzag, 4, 100)[10].1;
        assert!((middle - 0.5).abs() < 0.1, "{middle}");
        let few = smoothed(&straight, 0, 5);
        assert_eq!((few.len(), few[0], few[4]), (5, straight[0], straight[19]));
        assert!(smoothed(&[], 3, 5).is_empty());
    }
}
