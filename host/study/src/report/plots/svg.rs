//! Marks and lines. Plots are as wide as their place: across, everything is in percent, so that text and
//! marks keep their size at any width; down, in pixels.

use super::scale::Scale;
use crate::report::{
    html::{Text, put},
    view::Look,
};

/// The symbols that the page's marks refer to, and the hatching of what is missing: one each page.
pub(in super::super) const SYMBOLS: &str = r#"<svg class="symbols" width="0" height="0" aria-hidden="true" focusable="false"><defs>
<circle id="shape0" r="4.6"/>
<rect id="shape1" x="-4.2" y="-4.2" width="8.4" height="8.4"/>
<path id="shape2" d="M0 -5.4L5.2 4.2H-5.2Z"/>
<path id="shape3" d="M0 -5.8L5.8 0L0 5.8L-5.8 0Z"/>
<path id="shape4" d="M0 5.4L5.2 -4.2H-5.2Z"/>
<path id="shape5" d="M-1.7 -5.2H1.7V-1.7H5.2V1.7H1.7V5.2H-1.7V1.7H-5.2V-1.7H-1.7Z"/>
<path id="shape6" d="M0 -5.6L5.3 -1.7L3.3 4.5H-3.3L-5.3 -1.7Z"/>
<path id="shape-none" d="M-5.2 -1.7H5.2V1.7H-5.2Z"/>
<path id="shape-dense" d="M0 -6.4L1.7 -2L6.2 -2L2.6 0.9L3.9 5.4L0 2.8L-3.9 5.4L-2.6 0.9L-6.2 -2L-1.7 -2Z"/>
<pattern id="hatch-failed" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-ground" width="7" height="7"/><rect class="hatch-failed" width="2.4" height="7"/></pattern>
<pattern id="hatch-missing" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><rect class="hatch-ground" width="7" height="7"/><rect class="hatch-missing" width="1.2" height="7"/></pattern>
</defs></svg>
"#;

/// A mark of a variant at a place, with what a pointer that rests on it is told.
pub(super) fn mark(look: Look, x: f64, y: f64, small: bool, title: &str) -> String {
    // A nested drawing can stand at a percentage and still scale its content.
    let (open, close) = if small { ("<g transform=\"scale(0.72)\">", "</g>") } else { ("", "") };
    format!(
        "<svg x=\"{x:.2}%\" y=\"{y:.1}\" class=\"mark {}\">{open}<use href=\"#{}\"><title>{}</title></use>{close}</svg>",
        look.class(),
        look.symbol(),
        Text(title)
    )
}

/// A mark as it stands in a legend or a row's label.
pub(in super::super) fn key(look: Look) -> String {
    format!(
        "<svg class=\"key\" width=\"14\" height=\"14\" viewBox=\"-7 -7 14 14\" aria-hidden=\"true\" focusable=\"false\"><use \
         class=\"mark {}\" href=\"#{}\"/></svg>",
        look.class(),
        look.symbol()
    )
}

/// A straight line.
pub(super) fn line(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> String {
    format!("<line class=\"{class}\" x1=\"{x1:.2}%\" y1=\"{y1:.1}\" x2=\"{x2:.2}%\" y2=\"{y2:.1}\"/>")
}

/// A plot with two axes.
pub(super) struct Chart {
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) height: f64,
    /// The label of the horizontal axis, with its unit; empty where another plot's axis is shared.
    pub(super) x_label: String,
    /// The label of the vertical axis, with its unit.
    pub(super) y_label: String,
}

impl Chart {
    /// Where a point stands: percent across, pixels down.
    pub(super) fn place(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x.percent(x)?, self.down(y)?))
    }

    fn down(&self, y: f64) -> Option<f64> {
        Some(self.height * (1.0 - self.y.percent(y)? / 100.0))
    }

    /// Line segments from point to point.
    pub(super) fn path(&self, look: Look, points: &[(f64, f64)]) -> String {
        let places: Vec<_> = points.iter().filter_map(|&(x, y)| self.place(x, y)).collect();
        let mut out = format!("<g class=\"path {}\" stroke-dasharray=\"{}\">", look.class(), look.dashes());
        for ends in places.windows(2) {
            out.push_str(&line("", ends[0], ends[1]));
        }
        out + "</g>"
    }

    /// The whole plot; `description` is what is said to who cannot see it.
    pub(super) fn draw(&self, description: &str, x_ticks: &[(f64, String)], content: &str) -> String {
        let mut out = format!(
            "<p class=\"y-label\">{}</p>\n<div class=\"chart\"><svg role=\"img\" aria-label=\"{}\" height=\"{}\">\n",
            Text(&self.y_label),
            Text(description),
            self.height
        );
        for (value, label) in self.y.ticks(if self.height < 100.0 { 3 } else { 5 }) {
            if let Some(y) = self.down(value) {
                out.push_str(&line("grid", (0.0, y), (100.0, y)));
                put!(
                    out,
                    "<text class=\"tick\" x=\"-7\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                    y + 4.0
                );
            }
        }
        out.push_str(&x_axis(&self.x, self.height, x_ticks));
        put!(out, "{content}\n</svg></div>\n");
        if !self.x_label.is_empty() {
            put!(out, "<p class=\"x-label\">{}</p>\n", Text(&self.x_label));
        }
        out
    }
}

/// The line, the ticks and their labels of a horizontal axis.
pub(super) fn x_axis(scale: &Scale, y: f64, ticks: &[(f64, String)]) -> String {
    let mut out = line("axis", (0.0, y), (100.0, y));
    for (value, label) in ticks {
        if let Some(x) = scale.percent(*value) {
            out.push_str(&line("axis", (x, y), (x, y + 4.0)));
            put!(
                out,
                "<text class=\"tick\" x=\"{x:.2}%\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
                y + 17.0
            );
        }
    }
    out
}
