//! `eightfold bench --tune`: how good the choices of the cost model are, product by product.

use eightfold::Optimized;
use eightfold::tune::{Product, totals};
use serde::Serialize;

use crate::cli::output::{percent, table};

/// What was timed, with what it is of.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    model: &'a str,
    target: &'static str,
    precision: String,
    /// Microseconds of one inference in all products, by the best choices.
    best_us: f64,
    /// The same by those of the cost model.
    model_us: f64,
    /// How much more the latter is.
    loss: f64,
    products: &'a [Product],
}

impl<'a> Report<'a> {
    pub(super) fn of(optimized: &'a Optimized, products: &'a [Product]) -> Report<'a> {
        let [best_us, model_us] = totals(products);
        Report {
            model: &optimized.name,
            target: optimized.target.name,
            precision: optimized.precision.to_string(),
            best_us,
            model_us,
            loss: model_us / best_us.max(f64::MIN_POSITIVE) - 1.0,
            products,
        }
    }

    pub(super) fn text(&self) -> String {
        let us = |us: f64| format!("{us:.1}");
        let row = |product: &Product| {
            let best = if product.best.choice == product.model.choice {
                String::new()
            } else {
                product.best.choice.to_string()
            };
            [
                product.shape.clone(),
                product.calls.to_string(),
                product.model.choice.to_string(),
                us(product.model.us),
                best,
                us(product.best.us),
                percent(product.loss()),
                product.layer.clone(),
            ]
        };
        let mut rows: Vec<[String; 8]> = self.products.iter().map(row).collect();
        let nothing = String::new;
        let sum = [us(self.model_us), nothing(), us(self.best_us), percent(self.loss)];
        let [model_us, gap, best_us, loss] = sum;
        rows.push(["all calls".to_owned(), nothing(), nothing(), model_us, gap, best_us, loss, nothing()]);
        let header = ["shape", "calls", "model chooses", "us", "best", "us", "loss", "layer"];
        let table = table(header, rows, &[1, 3, 5, 6]);
        format!("{}, {}, {}\n\n{table}", self.model, self.precision, self.target)
    }
}
