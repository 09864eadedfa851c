//! What the numbers of a teacher are, and how they become logits.
//!
//! ```text
//! logits           z = x
//! probabilities    z = ln max(x / Σx, 1e-12)            rows ≥ 0 that sum to 1, to 100 (percent), to 255
//! sigmoid          z = ln max(p, 1e-12) - ln max(1 - p, 2⁻²⁵),  p = x / scale: each class by itself
//! ```
//! Every loss takes softmax of what a teacher gives. Of probabilities that makes something nearly
//! uniform, in which no teacher can be recognised: ten classes at 0.95 and 0.0056 become 0.22 and
//! 0.086. The logarithm undoes the softmax but for a constant, which no softmax sees.
//!
//! Log-probabilities are logits already. A probability of 0 says "less than the file can hold";
//! [`SMALLEST`] puts it 27.6 below a certain class, as far as logits of networks reach, so that
//! methods that compare logits themselves are not ruled by it.

use faculty_contract::class_cost::probabilities;

use faculty_recipe::OutputType;

/// A probability below this counts as this.
pub const SMALLEST: f64 = 1e-12;

/// Half of what lies between 1 and the next smaller f32: what `1 - p` is where p rounds to 1.
const SMALLEST_COMPLEMENT: f64 = 1.0 / (1_u64 << 25) as f64;

/// What rows of probabilities sum to: shares, percent, bytes.
const SCALES: [f64; 3] = [1.0, 100.0, 255.0];

/// Largest mean distance of the rows' sums from the scale, as a share of it. Half precision rounds
/// sums by 0.0005, whole percents by 0.01.
const MEAN_TOLERANCE: f64 = 0.01;

/// Largest distance of any row.
const ROW_TOLERANCE: f64 = 0.1;

/// From so many rows on, the rows themselves say more than their mean: rows that all sum to one number
/// are probabilities whatever that is, and rows of two kinds are a fault. A trial has fewer.
const MANY_ROWS: usize = 100;

/// The share of rows that sum to 1 (100, 255) from which the others are a fault: of logits hardly any
/// does by chance, of a sigmoid for each class many do.
const SHARE_AMONG_LOGITS: f64 = 0.1;
const SHARE_AMONG_SIGMOIDS: f64 = 0.9;

/// How far a probability may lie outside its range by rounding, as a share of the scale.
const ROUNDING: f64 = 1e-3;

/// What the numbers of a teacher are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawOutputs {
    output_type: OutputType,
    /// What a row sums to, or the largest value of a class by itself.
    scale: f64,
    /// Whether there are only two different numbers in all rows.
    two_valued: bool,
    /// What they look like, if the recipe says otherwise.
    overruled: Option<OutputType>,
    declared: bool,
}

/// Looks at rows of outputs.
#[derive(Clone, Debug, Default)]
pub struct OutputMeter {
    /// Rows whose numbers are all finite; others are left out.
    rows: usize,
    least: f64,
    most: f64,
    /// Different numbers, three at most.
    values: Vec<f32>,
    first_row: Vec<f32>,
    /// Whether any row differs from the first.
    rows_differ: bool,
    /// Of the rows' sums.
    sum: f64,
    least_sum: f64,
    most_sum: f64,
    /// For each of [`SCALES`]: sum of the distances of the rows' sums from it.
    distances: [f64; SCALES.len()],
    /// For each of [`SCALES`]: rows that are probabilities of it.
    fitting: [usize; SCALES.len()],
}

impl OutputMeter {
    /// Adds `[rows, classes]`.
    pub fn add(&mut self, outputs: &[f32], classes: usize) {
        for row in outputs.chunks_exact(classes.max(1)) {
            if row.iter().all(|value| value.is_finite()) {
                self.add_row(row);
            }
        }
    }

    fn add_row(&mut self, row: &[f32]) {
        let sum: f64 = row.iter().copied().map(f64::from).sum();
        let first = self.rows == 0;
        let (mut least, mut most) = (self.least, self.most);
        if first {
            (least, most) = (f64::INFINITY, f64::NEG_INFINITY);
            (self.least_sum, self.most_sum) = (sum, sum);
            self.first_row = row.to_vec();
        }
        self.rows_differ |= self.first_row != row;
        for &value in row {
            (least, most) = (least.min(f64::from(value)), most.max(f64::from(value)));
            if self.values.len() < 3 && !self.values.contains(&value) {
                self.values.push(value);
            }
        }
        (self.least, self.most) = (least, most);
        (self.least_sum, self.most_sum) = (self.least_sum.min(sum), self.most_sum.max(sum));
        self.sum += sum;
        let own_least = row.iter().copied().fold(f32::INFINITY, f32::min);
        for (at, scale) in SCALES.into_iter().enumerate() {
            let distance = (sum / scale - 1.0).abs();
            self.distances[at] += distance;
            let fits = distance <= MEAN_TOLERANCE && f64::from(own_least) >= -ROUNDING * scale;
            self.fitting[at] += usize::from(fits);
        }
        self.rows += 1;
    }

    /// What the rows look like. Without rows, logits.
    ///
    /// Probabilities: no number is negative, and the rows sum to 1, 100 or 255, or many rows to any
    /// other number. Sigmoid: all numbers lie between 0 and one of these, and some in the upper half.
    ///
    /// # Errors
    /// When some of many rows are probabilities and others not, in words.
    pub fn recognise(&self) -> Result<RawOutputs, String> {
        let seen = self.look();
        if seen.output_type == OutputType::Probabilities || self.rows < MANY_ROWS {
            return Ok(seen);
        }
        let mixed = |&(&fitting, scale): &(&usize, f64)| {
            let least = match self.are_within(scale) {
                true => SHARE_AMONG_SIGMOIDS,
                false => SHARE_AMONG_LOGITS,
            };
            fitting < self.rows && fitting as f64 >= least * self.rows as f64
        };
        match self.fitting.iter().zip(SCALES).find(mixed) {
            None => Ok(seen),
            Some((fitting, scale)) => Err(format!(
                "{fitting} of its {} rows sum to {scale}, as probabilities do, and the others do not \
                 (sums from {:.4} to {:.4})",
                self.rows, self.least_sum, self.most_sum
            )),
        }
    }

    fn look(&self) -> RawOutputs {
        let logits = self.raw(OutputType::Logits, 1.0);
        if self.rows == 0 {
            return logits;
        }
        let sums_to = |&(at, scale): &(usize, f64)| {
            self.are_probabilities(scale) && self.distances[at] <= MEAN_TOLERANCE * self.rows as f64
        };
        if let Some((_, scale)) = SCALES.into_iter().enumerate().find(sums_to) {
            return self.raw(OutputType::Probabilities, scale);
        }
        // Parts per thousand, the votes of a committee.
        let mean = self.sum / self.rows as f64;
        let sums_differ = (self.most_sum - self.least_sum) > MEAN_TOLERANCE * mean;
        if self.rows >= MANY_ROWS
            && self.rows_differ
            && self.are_probabilities(mean)
            && !sums_differ
        {
            return self.raw(OutputType::Probabilities, mean);
        }
        let reaches = |&scale: &f64| self.are_within(scale) && self.most >= 0.5 * scale;
        match SCALES.into_iter().find(reaches) {
            Some(scale) => self.raw(OutputType::Sigmoid, scale),
            None => logits,
        }
    }

    /// The same where the recipe says what they are.
    ///
    /// # Errors
    /// When they cannot be that, in words.
    pub fn declared(&self, output_type: OutputType) -> Result<RawOutputs, String> {
        let seen = self.look();
        let scale = match output_type {
            _ if self.rows == 0 || output_type == seen.output_type => seen.scale,
            OutputType::Logits => 1.0,
            OutputType::Probabilities => {
                let mean = self.sum / self.rows as f64;
                if !self.are_probabilities(mean) {
                    return Err(format!(
                        "its outputs go from {:.4} to {:.4} and its rows sum to {:.4} to {:.4}: \
                         no probabilities",
                        self.least, self.most, self.least_sum, self.most_sum
                    ));
                }
                mean
            }
            OutputType::Sigmoid => match SCALES.into_iter().find(|&s| self.are_within(s)) {
                Some(scale) => scale,
                None => {
                    return Err(format!(
                        "its outputs go from {:.4} to {:.4}: no sigmoid gives these",
                        self.least, self.most
                    ));
                }
            },
        };
        let other = seen.output_type != output_type;
        Ok(RawOutputs {
            overruled: other.then_some(seen.output_type),
            declared: true,
            ..self.raw(output_type, scale)
        })
    }

    fn are_probabilities(&self, scale: f64) -> bool {
        scale > 0.0
            && self.least >= -ROUNDING * scale
            && self.least_sum >= (1.0 - ROW_TOLERANCE) * scale
            && self.most_sum <= (1.0 + ROW_TOLERANCE) * scale
    }

    fn are_within(&self, scale: f64) -> bool {
        self.least >= -ROUNDING * scale && self.most <= (1.0 + ROUNDING) * scale
    }

    fn raw(&self, output_type: OutputType, scale: f64) -> RawOutputs {
        // A teacher that always says the same says no labels either.
        let two_valued = self.rows_differ && self.values.len() == 2;
        RawOutputs { output_type, scale, two_valued, overruled: None, declared: false }
    }
}

impl RawOutputs {
    /// Logits, as networks of this program give them.
    pub const LOGITS: Self = Self {
        output_type: OutputType::Logits,
        scale: 1.0,
        two_valued: false,
        overruled: None,
        declared: false,
    };

    /// Logits, probabilities, or probabilities of each class by itself.
    #[must_use]
    pub fn output_type(&self) -> OutputType {
        self.output_type
    }

    /// Turns `[rows, classes]` into logits, in place. What is not finite becomes NaN.
    ///
    /// # Errors
    /// When a row is not what these outputs are, in words; the rows are of no use then.
    pub fn to_logits(&self, outputs: &mut [f32], classes: usize) -> Result<(), String> {
        for row in outputs.chunks_exact_mut(classes.max(1)) {
            match self.output_type {
                OutputType::Logits => return Ok(()),
                OutputType::Probabilities => self.log(row)?,
                OutputType::Sigmoid => self.inverse_sigmoid(row)?,
            }
        }
        Ok(())
    }

    /// What one row says of each class, 0 to 1, as the network itself would put it: the softmax of
    /// logits, and probabilities as they are.
    #[must_use]
    pub fn probabilities(&self, row: &[f32]) -> Vec<f64> {
        match self.output_type {
            OutputType::Logits => probabilities(row),
            OutputType::Probabilities | OutputType::Sigmoid => {
                row.iter().map(|&value| f64::from(value) / self.scale).collect()
            }
        }
    }

    fn log(&self, row: &mut [f32]) -> Result<(), String> {
        let sum: f64 = row.iter().copied().map(f64::from).sum();
        if !sum.is_finite() {
            // Whoever reads the logits names the teacher.
            row.fill(f32::NAN);
            return Ok(());
        }
        let least = row.iter().copied().fold(f32::INFINITY, f32::min);
        let far = (sum / self.scale - 1.0).abs() > ROW_TOLERANCE;
        if far || f64::from(least) < -ROUNDING * self.scale {
            return Err(format!("a row sums to {sum:.4} and its least value is {least:.4}"));
        }
        for value in row {
            *value = logarithm(f64::from(*value) / sum, SMALLEST) as f32;
        }
        Ok(())
    }

    fn inverse_sigmoid(&self, row: &mut [f32]) -> Result<(), String> {
        for value in row {
            let p = f64::from(*value) / self.scale;
            if !p.is_finite() {
                *value = f32::NAN;
                continue;
            }
            if !(-ROUNDING..=1.0 + ROUNDING).contains(&p) {
                return Err(format!("an output is {value:.4}"));
            }
            *value = (logarithm(p, SMALLEST) - logarithm(1.0 - p, SMALLEST_COMPLEMENT)) as f32;
        }
        Ok(())
    }

    /// What a user should know of it; nothing of plain logits.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let scale = (self.scale * 1e4).round() / 1e4;
        let mut notes = Vec::new();
        let (said, way_out) = match self.declared {
            true => ("`output_type`: ", ""),
            false => ("", "; if they are logits all the same, set `output_type = \"logits\"`"),
        };
        match (self.output_type, self.overruled) {
            (OutputType::Logits, Some(seen)) => notes.push(format!(
                "its outputs look like `output_type = \"{}\"`, and are taken as logits, as the \
                 recipe says",
                seen.name()
            )),
            (OutputType::Logits, None) => {}
            (OutputType::Probabilities, _) => notes.push(format!(
                "{said}its outputs are probabilities (rows sum to {scale}): their logarithms \
                 are taken as logits, 0 as ln {SMALLEST:e}{way_out}"
            )),
            (OutputType::Sigmoid, _) => notes.push(format!(
                "{said}each class has a probability by itself (0 to {scale}, rows do not sum to \
                 it): ln p/(1-p) is taken as logits{way_out}"
            )),
        }
        if self.two_valued {
            notes.push(
                "its outputs are two different numbers: labels, perhaps smoothed, which carry no \
                 dark knowledge"
                    .to_owned(),
            );
        }
        notes
    }
}

/// ln of at least `smallest`.
fn logarithm(p: f64, smallest: f64) -> f64 {
    p.max(smallest).ln()
}

#[cfg(test)]
mod tests;
