//! How deep the messages of an ONNX file lie in each other, and whether each fits into the one around
//! it, before a reader believes them.
//!
//! The reader takes as much memory as the length of a field says, whatever the file's own.
//! A reader that calls itself for each graph inside a graph runs out of stack on a file made for
//! that, and that cannot be caught. Real networks nest graphs (in `If` and `Loop`) once or twice.

/// Graphs inside graphs, or types inside types.
const DEEPEST: usize = 16;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Type,
    Sequence,
    Tensor,
    TensorType,
    Shape,
    /// Of numbers and texts alone.
    Flat,
}

/// The kind of message in this field.
fn inside(kind: Kind, field: u64) -> Option<Kind> {
    Some(match (kind, field) {
        (Kind::Model, 7) | (Kind::Attribute, 6 | 11) => Kind::Graph,
        (Kind::Model, 8 | 14) | (Kind::Tensor, 13) | (Kind::Shape, 1) => Kind::Flat,
        (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) => Kind::Tensor,
        (Kind::Type, 1) => Kind::TensorType,
        (Kind::TensorType, 2) => Kind::Shape,
        (Kind::Graph, 1) => Kind::Node,
        (Kind::Graph, 11..=13) => Kind::ValueInfo,
        (Kind::Node, 5) => Kind::Attribute,
        (Kind::ValueInfo, 2) | (Kind::Sequence, 1) | (Kind::Attribute, 14 | 15) => Kind::Type,
        // Sequence, map (its values) and optional types.
        (Kind::Type, 4 | 5 | 9) => Kind::Sequence,
        (Kind::Sequence, 2) => Kind::Type,
        _ => return None,
    })
}

/// Refuses a file that nests deeper than any network does, or that is no protobuf message.
pub(super) fn check_nesting(bytes: &[u8]) -> Result<(), String> {
    let mut open = vec![(bytes, Kind::Model, 0_usize)];
    while let Some((mut rest, kind, depth)) = open.pop() {
        if depth > DEEPEST {
            return Err(format!("its graphs lie more than {DEEPEST} deep in each other"));
        }
        while !rest.is_empty() {
            let (field, content) =
                next(&mut rest).ok_or_else(|| "no readable ONNX file".to_owned())?;
            if let (Some(content), Some(inner)) = (content, inside(kind, field)) {
                let deeper = usize::from(matches!(inner, Kind::Graph | Kind::Type));
                open.push((content, inner, depth + deeper));
            }
        }
    }
    Ok(())
}

/// Takes a field: its number, and its bytes if it has a length.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let content = match tag & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => {
            *rest = rest.get(8..)?;
            None
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (content, after) = rest.split_at_checked(length)?;
            *rest = after;
            Some(content)
        }
        5 => {
            *rest = rest.get(4..)?;
            None
        }
        _ => return None,
    };
    Some((tag >> 3, content))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(field: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![field << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(content);
        bytes
    }

    /// Graphs in attributes of nodes of graphs.
    fn nested(depth: usize) -> Vec<u8> {
        let inner =
            (1..depth).fold(Vec::new(), |graph, _| message(1, &message(5, &message(6, &graph))));
        message(7, &inner)
    }

    #[test]
    fn a_few_levels_pass_and_many_are_refused() {
        for depth in [1, 2, 3, DEEPEST] {
            check_nesting(&nested(depth)).unwrap();
        }
        for depth in [DEEPEST + 1, 2_000] {
            assert!(check_nesting(&nested(depth)).unwrap_err().contains("deep"));
        }
        let types = (0..100).fold(Vec::new(), |inner, _| message(4, &message(1, &inner)));
        let file = message(7, &message(11, &message(2, &types)));
        assert!(check_nesting(&file).unwrap_err().contains("deep"));
    }

    #[test]
    fn a_field_longer_than_its_message_is_refused_wherever_it_is() {
        // Field 9 of a tensor: its bytes, a million of them.
        let long = [9 << 3 | 2, 0xc0, 0x84, 0x3d, 1, 2, 3];
        let wrap = |fields: &[u8]| fields.iter().fold(long.to_vec(), |own, &f| message(f, &own));
        for (fields, place) in [
            (&[5, 7][..], "initializer"),
            (&[5, 5, 1, 7], "tensor of an attribute"),
            (&[13, 5, 7], "external data"),
            (&[8], "opset"),
            (&[14], "metadata"),
            (&[1, 2, 11, 7], "tensor type"),
            (&[2, 1, 2, 11, 7], "shape"),
            (&[1, 2, 1, 2, 11, 7], "dimension"),
        ] {
            assert!(check_nesting(&wrap(fields)).is_err(), "{place}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&[0xff][..], &[0x3a, 5, 1], &[0x3b], b"hello world"] {
            assert!(check_nesting(bytes).is_err(), "{bytes:?}");
        }
        check_nesting(&[]).unwrap();
    }
}
