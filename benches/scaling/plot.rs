//! Draws log-log panels side by side as SVG.

use std::fmt::Write;

/// One panel: measured points and the curve through them.
pub struct Panel {
    pub title: String,
    pub axis: String,
    pub note: String,
    /// Size and seconds.
    pub points: Vec<(f64, f64)>,
    pub curve: Box<dyn Fn(f64) -> f64>,
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 48.0;

/// A logarithmic axis: values to pixels.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
        Axis { low: low / 1.3, high: high * 1.3, from, to }
    }

    fn place(&self, x: f64) -> f64 {
        self.from + (self.to - self.from) * (x / self.low).ln() / (self.high / self.low).ln()
    }

    /// Powers of ten; of two where the axis holds less than a decade and a half.
    fn ticks(&self) -> Vec<f64> {
        let base: f64 = if self.high / self.low < 30.0 { 2.0 } else { 10.0 };
        let exponent = |x: f64| x.ln() / base.ln();
        let (first, last) = (exponent(self.low).ceil() as i32, exponent(self.high).floor() as i32);
        (first..=last).map(|k| base.powi(k)).collect()
    }
}

fn seconds(t: f64) -> String {
    if t < 0.9995e-3 {
        format!("{} µs", short(t * 1e6))
    } else if t < 0.9995 {
        format!("{} ms", short(t * 1e3))
    } else {
        format!("{} s", short(t))
    }
}

fn short(x: f64) -> String {
    if x >= 100.0 { format!("{x:.0}") } else { format!("{}", (x * 100.0).round() / 100.0) }
}

pub fn svg(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(2);
    let (width, height) = (2.0 * WIDTH, rows as f64 * HEIGHT);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (i, panel) in panels.iter().enumerate() {
        let (x, y) = ((i % 2) as f64 * WIDTH, (i / 2) as f64 * HEIGHT);
        let _ = writeln!(out, "<g transform=\"translate({x} {y})\">\n{}</g>", draw(panel));
    }
    out + "</svg>\n"
}

fn draw(panel: &Panel) -> String {
    let mut out = String::new();
    let x = Axis::new(panel.points.iter().map(|p| p.0), LEFT, WIDTH - RIGHT);
    let y = Axis::new(panel.points.iter().map(|p| p.1), HEIGHT - BOTTOM, TOP);
    let text = |x: f64, y: f64, anchor: &str, content: &str| {
        format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>\n")
    };
    let line = |x1: f64, y1: f64, x2: f64, y2: f64| {
        format!("<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#ddd\" fill=\"none\"/>\n")
    };
    for tick in x.ticks() {
        out += &line(x.place(tick), y.from, x.place(tick), y.to);
        out += &text(x.place(tick), HEIGHT - BOTTOM + 16.0, "middle", &format!("{tick}"));
    }
    for tick in y.ticks() {
        out += &line(x.from, y.place(tick), x.to, y.place(tick));
        out += &text(LEFT - 6.0, y.place(tick) + 4.0, "end", &seconds(tick));
    }
    out += &text(LEFT, TOP - 14.0, "start", &panel.title);
    out += &text((x.from + x.to) / 2.0, HEIGHT - 12.0, "middle", &panel.axis);
    out += &text(WIDTH - RIGHT - 6.0, HEIGHT - BOTTOM - 8.0, "end", &panel.note);
    let curve: Vec<String> = (0..=60)
        .map(|k| x.low * (x.high / x.low).powf(f64::from(k) / 60.0))
        .map(|at| (x.place(at), y.place((panel.curve)(at)).clamp(TOP, HEIGHT - BOTTOM)))
        .map(|(px, py)| format!("{px:.1} {py:.1}"))
        .collect();
    let _ = writeln!(out, "<path d=\"M{}\" stroke=\"#36c\" fill=\"none\"/>", curve.join("L"));
    for &(n, t) in &panel.points {
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"#c33\"/>",
            x.place(n),
            y.place(t)
        );
    }
    out
}
