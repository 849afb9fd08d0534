//! The examples before an item.

use super::{
    EvaluateError, Result,
    definition::{Draw, TaskDefinition},
    python_random::PythonRandom,
    requests::unfit,
    turns::{Shot, Turn},
};
use espalier_data::{CalibrationError, Collection, Reading, Record, Row, Source};

/// Where examples are taken from, and which are next.
pub(super) struct Examples<'a> {
    definition: &'a TaskDefinition,
    count: usize,
    rows: Rows<'a>,
    random: Option<PythonRandom>,
    /// The examples of the item before: their numbers and their text.
    last: (Vec<usize>, Vec<Shot>),
}

enum Rows<'a> {
    Written(&'a [Row]),
    Read(Collection),
}

impl Rows<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Written(rows) => rows.len(),
            Self::Read(collection) => collection.len(),
        }
    }

    fn row(&self, index: usize) -> Result<Row, CalibrationError> {
        match self {
            Self::Written(rows) => Ok(rows[index].clone()),
            Self::Read(collection) => row(collection, index),
        }
    }

    fn place(&self, index: usize) -> String {
        match self {
            Self::Written(_) => format!("example {index} (from 0) of the task"),
            Self::Read(collection) => collection.place(index),
        }
    }
}

/// A row of a collection that was [opened](Collection::open_rows) for its rows.
pub(super) fn row(collection: &Collection, index: usize) -> Result<Row, CalibrationError> {
    match collection.record(index)? {
        Record::Row(row) => Ok(row),
        _ => Err(CalibrationError::NoRows { path: collection.sources()[0].path.clone() }),
    }
}

impl<'a> Examples<'a> {
    /// So many examples of a task on data in `source`.
    ///
    /// # Errors
    /// There are none, or too few; or they cannot be read.
    pub(super) fn open(
        definition: &'a TaskDefinition,
        count: usize,
        source: &Source,
        reading: &Reading,
    ) -> Result<Self> {
        let shots = &definition.shots;
        let random = match shots.draw {
            Draw::Seeded(seed) => Some(PythonRandom::new(seed)),
            Draw::First => None,
        };
        let none = |problem: String| EvaluateError::Shots { task: definition.name.clone(), problem };
        let rows = match &shots.split {
            _ if count == 0 || !shots.rows.is_empty() => Rows::Written(&shots.rows),
            None => {
                return Err(none(
                    "its definition has no `examples`, and no `split` to take some from".to_owned(),
                ));
            }
            Some(split) if !source.path.is_dir() => {
                let problem = format!(
                    "they are of the split `{split}`: give the folder that holds it beside `{}`, not a file",
                    definition.split
                );
                return Err(none(problem));
            }
            Some(split) => Rows::Read(Collection::open_rows(&source.split(split)?, reading)?),
        };
        let needed = count + usize::from(shots.spare && count > 0);
        if rows.len() < needed {
            return Err(none(format!("{needed} are drawn for an item, and there are {}", rows.len())));
        }
        Ok(Self { definition, count, rows, random, last: (Vec::new(), Vec::new()) })
    }

    /// The examples before an item. Every call draws others, where they are drawn.
    ///
    /// # Errors
    /// An example cannot be used, or there are too few for this item.
    pub(super) fn before(
        &mut self,
        item: &Row,
        place: impl Fn() -> String,
    ) -> Result<&[Shot], CalibrationError> {
        let chosen = if self.count == 0 { Vec::new() } else { self.choose(item, place)? };
        if chosen != self.last.0 {
            let shot = |&index: &usize| -> Result<Shot, CalibrationError> {
                let row = self.rows.row(index)?;
                Ok(Turn::of(self.definition, &row, &|| self.rows.place(index))?.shot())
            };
            let shots = chosen.iter().map(shot).collect::<Result<_, _>>()?;
            self.last = (chosen, shots);
        }
        Ok(&self.last.1)
    }

    fn choose(&mut self, item: &Row, place: impl Fn() -> String) -> Result<Vec<usize>, CalibrationError> {
        let shots = &self.definition.shots;
        let mut pool: Vec<usize> = (0..self.rows.len()).collect();
        if let Some(field) = &shots.same {
            let mut alike = Vec::new();
            for index in pool {
                if self.rows.row(index)?.shares(item, field) {
                    alike.push(index);
                }
            }
            pool = alike;
        }
        let few = |found: usize, count: usize| {
            unfit(place(), "shots", format!("{count} examples are due, and {found} fit this item"))
        };
        let drawn = self.count + usize::from(shots.spare);
        if pool.len() < drawn {
            return Err(few(pool.len(), drawn));
        }
        let Some(random) = &mut self.random else {
            let pool = if shots.spare { others(&self.rows, pool, item)? } else { pool };
            return if pool.len() < self.count {
                Err(few(pool.len(), self.count))
            } else {
                Ok(pool[..self.count].to_vec())
            };
        };
        let mut sample = |pool: &[usize], count| -> Vec<usize> {
            random.sample(pool.len(), count).into_iter().map(|at| pool[at]).collect()
        };
        let mut chosen = sample(&pool, drawn);
        if shots.spare {
            chosen = others(&self.rows, chosen, item)?;
            chosen.truncate(self.count);
            if chosen.len() < self.count {
                // Several of the drawn are the item itself.
                let pool = others(&self.rows, pool, item)?;
                if pool.len() < self.count {
                    return Err(few(pool.len(), self.count));
                }
                chosen = sample(&pool, self.count);
            }
        }
        Ok(chosen)
    }
}

/// The rows that are not the item itself.
fn others(rows: &Rows, chosen: Vec<usize>, item: &Row) -> Result<Vec<usize>, CalibrationError> {
    let mut kept = Vec::with_capacity(chosen.len());
    for index in chosen {
        if rows.row(index)? != *item {
            kept.push(index);
        }
    }
    Ok(kept)
}
