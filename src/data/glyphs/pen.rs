//! A round pen on a small canvas.

/// Rows and columns of the canvas.
pub(super) const SIDE: usize = 28;

/// A round pen, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    /// Half of the line's width.
    pub radius: f32,
    /// Width of the rim over which the ink fades.
    pub softness: f32,
}

/// How much of each pixel is covered by ink, 0 to 1.
#[derive(Debug)]
pub(super) struct Canvas {
    coverage: [f32; SIDE * SIDE],
}

impl Canvas {
    /// A blank canvas.
    pub fn new() -> Self {
        Self {
            coverage: [0.0; SIDE * SIDE],
        }
    }

    /// Draws a poly-line; the radius goes from `pressures[0]` times the pen's at its start to `pressures[1]` times it
    /// at its end.
    ///
    /// A pixel's coverage falls linearly with its distance to the line, from 1 inside the rim to 0
    /// outside; where lines meet the larger coverage counts, so crossings are no darker than lines.
    pub fn draw(&mut self, line: &[[f32; 2]], pen: Pen, pressures: [f32; 2]) {
        let segments = line.len().saturating_sub(1).max(1) as f32;
        for (nth, ends) in line.windows(2).enumerate() {
            let along = (nth as f32 + 0.5) / segments;
            let pressure = pressures[0] + (pressures[1] - pressures[0]) * along;
            self.draw_segment(ends[0], ends[1], pen.radius * pressure, pen.softness);
        }
    }

    fn draw_segment(&mut self, a: [f32; 2], b: [f32; 2], radius: f32, softness: f32) {
        let reach = radius + 0.5 * softness;
        let [xs, ys] = [0, 1].map(|axis| {
            let low = (a[axis].min(b[axis]) - reach).ceil().max(0.0) as usize;
            let high = (a[axis].max(b[axis]) + reach).floor() + 1.0;
            low..(high.max(0.0) as usize).min(SIDE)
        });
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length_squared = (dx * dx + dy * dy).max(1e-12);
        for y in ys {
            for x in xs.clone() {
                let (px, py) = (x as f32 - a[0], y as f32 - a[1]);
                let t = ((px * dx + py * dy) / length_squared).clamp(0.0, 1.0);
                let (ex, ey) = (px - t * dx, py - t * dy);
                let distance = (ex * ex + ey * ey).sqrt();
                let coverage = ((reach - distance) / softness).clamp(0.0, 1.0);
                let pixel = &mut self.coverage[y * SIDE + x];
                *pixel = pixel.max(coverage);
            }
        }
    }

    /// The canvas as grey values: `ink` times the coverage plus `noise()` for each pixel, within 0..=255.
    pub fn develop(&self, image: &mut [u8], ink: f32, mut noise: impl FnMut() -> f32) {
        for (pixel, coverage) in image.iter_mut().zip(&self.coverage) {
            *pixel = (coverage * ink + noise()).clamp(0.0, 255.0) as u8;
        }
    }
}
