//! Parses a law: `response ~ prediction with … where …`.

use std::collections::HashMap;

use super::ast::{CompareOp, Domain, Expr, Formula, Span, is_quoted, names, unknowns, uses};
use super::domain::where_domains;
use super::lex::{Fault, Grammar, Parsed, Token, TokenKind, tokens};
use super::node::MAX_NODES;
use super::parse::{node, whole};
use super::stream::{Definition, Input, accept, fault_of, here, input, new_name, next};
use super::suggest::nearest;

/// A part of a law: its tokens, and the place just after them.
#[derive(Clone)]
struct TokenSection<'t> {
    tokens: &'t [Token],
    end: Span,
}

impl<'t> TokenSection<'t> {
    /// Splits at the first token of a kind, which belongs to neither part.
    fn split(&self, kind: &TokenKind) -> (TokenSection<'t>, Option<TokenSection<'t>>) {
        let Some(at) = self.tokens.iter().position(|token| token.kind == *kind) else {
            return (self.clone(), None);
        };
        let before = TokenSection { tokens: &self.tokens[..at], end: self.tokens[at].span.clone() };
        let after = TokenSection { tokens: &self.tokens[at + 1..], end: self.end.clone() };
        (before, Some(after))
    }

    /// Returns the tokens as the input of a parser.
    fn input(&self, definitions: &'t [Definition]) -> Input<'t> {
        input(self.tokens, self.end.clone(), Grammar::Formula, definitions)
    }
}

/// Parses a law.
pub(super) fn law(text: &str) -> Result<Formula, Fault> {
    let tokens = tokens(text, Grammar::Formula)?;
    let all = TokenSection { tokens: &tokens, end: text.len()..text.len() };
    let (left, Some(right)) = all.split(&TokenKind::Tilde) else {
        return Err(missing_tilde(&tokens, text.len()));
    };
    let (right, domains) = right.split(&TokenKind::Where);
    let (right, definitions) = right.split(&TokenKind::With);
    if let Some(domains) = &domains
        && let Some(with) = domains.tokens.iter().find(|token| token.kind == TokenKind::With)
    {
        return Err(Fault::new("`with` comes before `where`", with.span.clone()));
    }

    let definitions = match definitions {
        Some(section) => with(&section)?,
        None => Vec::new(),
    };
    let response = whole(left.input(&definitions))?.expr;
    let prediction = whole(right.input(&definitions))?.expr;
    let domains = match domains {
        Some(section) => where_domains(section.input(&[])).map_err(fault_of)?,
        None => Vec::new(),
    };
    check_unknowns(&prediction)?;
    check_domain_names(&domains, &definitions, &response, &prediction)?;
    let unused = unused(&tokens, &definitions);
    Ok(Formula { source: text.to_owned(), response, prediction, domains, unused })
}

/// Returns the names of the definitions that are written once in the law, where they are defined.
fn unused(tokens: &[Token], definitions: &[Definition]) -> Vec<String> {
    let written = |name: &str| {
        tokens.iter().filter(|token| matches!(&token.kind, TokenKind::Name(n) if n == name)).count()
    };
    definitions.iter().map(|d| d.name.clone()).filter(|name| written(name) < 2).collect()
}

/// Returns the error for a text without `~`.
fn missing_tilde(tokens: &[Token], end: usize) -> Fault {
    let form = "a law is written `response ~ expression`";
    let equals = tokens
        .iter()
        .take_while(|token| !matches!(token.kind, TokenKind::With | TokenKind::Where))
        .find(|token| token.kind == TokenKind::Compare(CompareOp::Eq));
    match (equals, tokens.is_empty()) {
        (Some(token), _) => Fault::new(format!("expected `~`: {form}"), token.span.clone()),
        (None, true) => Fault::new(format!("the law is empty: {form}"), 0..end),
        (None, false) => Fault::new(format!("expected `~`: {form}"), end..end),
    }
}

/// Parses `a = EXPR, b = EXPR, …`.
fn with(section: &TokenSection<'_>) -> Result<Vec<Definition>, Fault> {
    let mut definitions: Vec<Definition> = Vec::new();
    // Names that were undefined where they were used, with the index of the first definition that uses them.
    let mut undefined: HashMap<String, (usize, Span)> = HashMap::new();
    let mut rest = section.clone();
    loop {
        let mut i = rest.input(&definitions);
        let (definition, left) = definition(&mut i).map_err(fault_of)?;
        record_first_uses(&definition.node.expr, definitions.len(), &mut undefined);
        if definitions.iter().any(|d| d.name == definition.name) {
            let message = format!("`{}` is defined twice", definition.name);
            return Err(Fault::new(message, definition.span));
        }
        if let Some((user, span)) = undefined.get(&definition.name) {
            let message = if *user == definitions.len() {
                format!("`{}` is used in its own definition", definition.name)
            } else {
                format!("`{}` is used before its definition", definition.name)
            };
            return Err(Fault::new(message, span.clone()));
        }
        definitions.push(definition);
        // Each definition may contain copies of the one before, so their sizes can grow exponentially.
        if definitions.iter().map(|d| d.nodes).sum::<usize>() > MAX_NODES {
            let message = format!("the definitions have more than {MAX_NODES} parts");
            return Err(Fault::new(message, definitions.swap_remove(0).span));
        }
        match left {
            Some(left) => rest.tokens = &section.tokens[section.tokens.len() - left..],
            None => return Ok(definitions),
        }
    }
}

/// Parses `a = EXPR`. If a comma follows, also returns how many tokens are left after it.
fn definition(i: &mut Input<'_>) -> Parsed<(Definition, Option<usize>)> {
    let (name, span) = new_name(i, "a name to define")?;
    if accept(i, &TokenKind::Compare(CompareOp::Eq)).is_none() {
        return Fault::cut("expected `=`: a definition is written `name = expression`", here(i));
    }
    let node = node(i)?;
    let nodes = node.expr.size();
    let more = accept(i, &TokenKind::Comma).is_some();
    if !more && next(i).is_some() {
        return Fault::cut("expected an operator, `,` or `where`", here(i));
    }
    let left = more.then(|| i.input.len());
    let definition = Definition { name, span, node, nodes };
    Ok((definition, left))
}

/// Records the first use of each unquoted name and the definition that uses it.
fn record_first_uses(expr: &Expr, user: usize, found: &mut HashMap<String, (usize, Span)>) {
    for (name, span) in uses(expr) {
        if !is_quoted(name, span) && !found.contains_key(name) {
            found.insert(name.to_owned(), (user, span.clone()));
        }
    }
}

/// Checks that the unknown of a `solve` is not used elsewhere on the right side.
fn check_unknowns(prediction: &Expr) -> Result<(), Fault> {
    let unknowns = unknowns(prediction);
    match uses(prediction).into_iter().find(|(name, _)| unknowns.contains(name)) {
        Some((name, span)) => {
            let message = format!("`{name}` is the unknown of `solve`, so it has no value outside it");
            Err(Fault::new(message, span.clone()))
        }
        None => Ok(()),
    }
}

/// Checks that each name with a domain can be a parameter: it is on the right side and not on the left.
fn check_domain_names(
    domains: &[(String, Domain, Span)],
    definitions: &[Definition],
    response: &Expr,
    prediction: &Expr,
) -> Result<(), Fault> {
    let (left, right) = (names(response), names(prediction));
    for (name, _, span) in domains {
        let place = span.start..span.start + name.len();
        let defined = definitions.iter().any(|d| d.name == *name);
        let message = if unknowns(prediction).contains(&name.as_str()) {
            format!("`{name}` is the unknown of `solve`: its ends bound it, so it has no domain")
        } else if defined {
            format!("`{name}` is defined by `with`, so it has no domain of its own")
        } else if left.contains(&name.as_str()) {
            format!("`{name}` is on the left side, where there are no parameters")
        } else if right.contains(&name.as_str()) {
            continue;
        } else {
            match nearest(name, right.iter().copied()) {
                Some(near) => format!("`{name}` is not in the law: did you mean `{near}`?"),
                None => format!(
                    "`{name}` is not in the law: `where` gives the domains of its parameters, and selects no rows"
                ),
            }
        };
        return Err(Fault::new(message, place));
    }
    Ok(())
}
