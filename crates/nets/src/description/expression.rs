//! Whole numbers that are computed in a description: `"4 * width"`, `"stride != 1 or input != width"`.
//!
//! ```text
//! or         = and { "or" and }
//! and        = comparison { "and" comparison }
//! comparison = sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum ]       1 if it holds, else 0
//! sum        = product { ( "+" | "-" ) product }
//! product    = value { ( "*" | "/" ) value }                                a division leaves no rest
//! value      = digits | name | "(" or ")"
//! ```

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Number(i64),
    Name(String),
    Pair(Box<[Expression; 2]>, Operator),
}

/// What joins two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    AtMost,
    More,
    AtLeast,
    Plus,
    Minus,
    Times,
    Over,
}

/// Operators by how tightly they bind, the loosest first.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        ("<=", Operator::AtMost),
        (">", Operator::More),
        (">=", Operator::AtLeast),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Over)],
];

/// Bytes of an expression: far above any use, and a bound for parentheses within one another.
const MOST_BYTES: usize = 200;

impl Expression {
    /// Parses a text.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("an expression of {} bytes, of at most {MOST_BYTES}", text.len()));
        }
        let mut tokens = Tokens { all: tokens(text)?, next: 0 };
        let parsed = level(&mut tokens, 0)?;
        match tokens.peek() {
            None => Ok(parsed),
            Some(rest) => Err(format!("`{rest}` is not expected there")),
        }
    }

    /// Its value, where `of` knows the names.
    ///
    /// # Errors
    /// What is unknown, or cannot be computed, in words.
    pub(super) fn value(&self, of: &dyn Fn(&str) -> Option<i64>) -> Result<i64, String> {
        let (pair, operator) = match self {
            Self::Number(number) => return Ok(*number),
            Self::Name(name) => {
                return of(name).ok_or_else(|| format!("nothing is called `{name}`"));
            }
            Self::Pair(pair, operator) => (pair, *operator),
        };
        let left = pair[0].value(of)?;
        // What decides alone is not computed further: `input != 0 and 64 / input == 2`.
        match operator {
            Operator::Or if left != 0 => return Ok(1),
            Operator::And if left == 0 => return Ok(0),
            _ => {}
        }
        let right = pair[1].value(of)?;
        let computed = match operator {
            Operator::Or | Operator::And => Some(i64::from(right != 0)),
            Operator::Equal => Some(i64::from(left == right)),
            Operator::NotEqual => Some(i64::from(left != right)),
            Operator::Less => Some(i64::from(left < right)),
            Operator::AtMost => Some(i64::from(left <= right)),
            Operator::More => Some(i64::from(left > right)),
            Operator::AtLeast => Some(i64::from(left >= right)),
            Operator::Plus => left.checked_add(right),
            Operator::Minus => left.checked_sub(right),
            Operator::Times => left.checked_mul(right),
            Operator::Over if left.checked_rem(right) == Some(0) => left.checked_div(right),
            Operator::Over => return Err(format!("{left} / {right} is no whole number")),
        };
        computed.ok_or_else(|| "a number beyond 64 bits".to_owned())
    }
}

/// All of one level, from left to right.
fn level(tokens: &mut Tokens<'_>, depth: usize) -> Result<Expression, String> {
    let Some(operators) = LEVELS.get(depth) else { return value(tokens) };
    let mut left = level(tokens, depth + 1)?;
    while let Some(&(_, operator)) =
        tokens.peek().and_then(|token| operators.iter().find(|(own, _)| *own == token))
    {
        tokens.next += 1;
        let right = level(tokens, depth + 1)?;
        left = Expression::Pair(Box::new([left, right]), operator);
    }
    Ok(left)
}

fn value(tokens: &mut Tokens<'_>) -> Result<Expression, String> {
    let Some(token) = tokens.peek() else {
        return Err("something is missing at the end".to_owned());
    };
    tokens.next += 1;
    if token == "(" {
        let inner = level(tokens, 0)?;
        return match tokens.peek() {
            Some(")") => {
                tokens.next += 1;
                Ok(inner)
            }
            _ => Err("a `)` is missing".to_owned()),
        };
    }
    if token.starts_with(|c: char| c.is_ascii_digit()) {
        let number = token.parse().map_err(|_| format!("`{token}` is no number of 64 bits"))?;
        return Ok(Expression::Number(number));
    }
    let is_name = token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if is_name && !["or", "and"].contains(&token) {
        return Ok(Expression::Name(token.to_owned()));
    }
    Err(format!("`{token}` is not expected there"))
}

struct Tokens<'a> {
    all: Vec<&'a str>,
    next: usize,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.all.get(self.next).copied()
    }
}

fn tokens(text: &str) -> Result<Vec<&str>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = if is_word(first) {
            rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())
        } else if ["==", "!=", "<=", ">="].iter().any(|two| rest.starts_with(two)) {
            2
        } else if "()<>+-*/".contains(first) {
            1
        } else {
            return Err(format!("`{first}` is not expected there"));
        };
        all.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<i64, String> {
        let of = |name: &str| match name {
            "width" => Some(16),
            "input" => Some(64),
            "huge" => Some(i64::MAX),
            _ => None,
        };
        Expression::parse(text)?.value(&of)
    }

    #[test]
    fn operators_bind_as_usual_and_go_from_left_to_right() {
        for (text, want) in [
            ("7", 7),
            ("width", 16),
            ("2 + 3 * 4", 14),
            ("(2+3)*4", 20),
            ("20 - 3 - 2", 15),
            ("(input - width) / 4 * 2", 24),
            ("input != 4 * width", 0),
            ("width >= 16 and input > 64 or 1 == 1", 1),
            ("width < 16 or width <= 15", 0),
            ("1 or huge + 1", 1),
            ("0 and 1 / 0", 0),
            ("3 and 2", 1),
        ] {
            assert_eq!(value(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_computed_is_said() {
        for (text, want) in [
            ("", "something is missing at the end"),
            ("2 +", "something is missing at the end"),
            ("2 3", "`3` is not expected there"),
            ("(2", "a `)` is missing"),
            ("2 % 3", "`%` is not expected there"),
            ("2 = 3", "`=` is not expected there"),
            ("or", "`or` is not expected there"),
            ("depth", "nothing is called `depth`"),
            ("7 / 2", "7 / 2 is no whole number"),
            ("7 / 0", "7 / 0 is no whole number"),
            ("huge * 2", "a number beyond 64 bits"),
            ("99999999999999999999", "`99999999999999999999` is no number of 64 bits"),
            ("3x", "`3x` is no number of 64 bits"),
            ("é", "`é` is not expected there"),
        ] {
            assert_eq!(value(text), Err(want.to_owned()), "{text}");
        }
        assert!(value(&"(".repeat(200)).is_err() && value(&"(".repeat(100_000)).is_err());
    }
}
