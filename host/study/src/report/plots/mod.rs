//! The plots.

mod curves;
mod dots;
mod forest;
mod heat_map;
mod layers;
mod rows;
mod scale;
mod scatter;
mod sensitivity;
mod svg;

pub(super) use self::{
    curves::curves,
    dots::dots,
    forest::{forest, gains},
    heat_map::heat_maps,
    layers::layers,
    scatter::scatter,
    sensitivity::sensitivity,
    svg::{SYMBOLS, key},
};

use super::{
    html::{Text, put},
    metric::sparsity_title,
    view::{Column, View},
};

/// A figure that the page's filter knows.
struct Panel<'a> {
    model: &'a str,
    evaluation: Option<&'a str>,
    metric: Option<&'a str>,
    sparsity: Option<&'a str>,
}

impl<'a> Panel<'a> {
    /// The figure of one column of the table.
    fn of(model: &'a str, column: Column<'a>) -> Self {
        Self { model, evaluation: Some(column.evaluation), metric: Some(column.name), sparsity: None }
    }

    /// The same of one sparsity.
    fn at(self, sparsity: &'a str) -> Self {
        Self { sparsity: Some(sparsity), ..self }
    }

    /// The figure, with a caption that is HTML.
    fn draw(&self, caption: &str, content: &str) -> String {
        let mut out = format!("<figure class=\"panel\" data-model=\"{}\"", Text(self.model));
        let keys = [("evaluation", self.evaluation), ("metric", self.metric), ("sparsity", self.sparsity)];
        for (key, value) in keys {
            if let Some(value) = value {
                put!(out, " data-{key}=\"{}\"", Text(value));
            }
        }
        put!(out, ">\n<figcaption>{caption}</figcaption>\n{content}</figure>\n");
        out
    }
}

/// A caption such as "Exact match on *alpaca*".
fn caption(column: Column<'_>) -> String {
    format!("{} on <b>{}</b>", Text(column.metric.title), Text(column.evaluation))
}

/// Figures side by side, as many as there is room for; nothing where there are none.
fn panels(figures: &str) -> Option<String> {
    (!figures.is_empty()).then(|| format!("<div class=\"panels\">\n{figures}</div>\n"))
}

/// A group of figures for every model and sparsity, so that no axis has to span the damage of them all; a
/// figure for every column of the table that has something to show.
fn by_sparsity<'a>(
    view: &View<'a>,
    figure: impl Fn(&'a str, &'a str, Column<'a>) -> Option<String>,
) -> Option<String> {
    let mut out = String::new();
    for &model in &view.models {
        for &sparsity in &view.sparsities {
            let mut figures = String::new();
            for column in view.columns() {
                if let Some(content) = figure(model, sparsity, column) {
                    let panel = Panel::of(model, column).at(sparsity);
                    figures += &panel.draw(&caption(column), &content);
                }
            }
            if let Some(figures) = panels(&figures) {
                put!(
                    out,
                    "<div class=\"group\" data-model=\"{}\" data-sparsity=\"{}\">\n<h3>{} of weights \
                     pruned{}</h3>\n{figures}</div>\n",
                    Text(model),
                    Text(sparsity),
                    Text(sparsity_title(sparsity)),
                    Text(view.of_model(model))
                );
            }
        }
    }
    (!out.is_empty()).then_some(out)
}
