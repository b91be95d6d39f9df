//! `lint`: what can be said of a script before anything runs.
//!
//! Markers that open no cell, unknown verbs and options, variables that are never read or hide another, loops that write one
//! file over and over, results that depend on the clock. Only what would fail anyway is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, ImmutableString, OptimizationLevel, Position, Stmt, StmtBlock};
use serde::Serialize;

use crate::error::Result;
use crate::options::{Param, nearest};

use super::catalogue;
use super::cells::stray_markers;
use super::context::{Console, Context, Event, Setup};
use super::engine::{self, Script};
use super::verb::{InputKind, OVERWRITE, Verb};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The script runs, but perhaps not as meant.
    Warning,
    /// The script would fail.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Name of the rule.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.level == Level::Error { "error" } else { "warning" };
        write!(f, "{}:{}: {level} [{}]: {}", self.line, self.column, self.rule, self.message)
    }
}

/// Everything that `lint` has to say of a script, in the order of its lines.
pub fn lint(script: &Script, project: &Path) -> Result<Vec<Finding>> {
    let context = Arc::new(Context::new(Setup { dry_run: true, ..Setup::new(project, "lint", Arc::new(Deaf)) })?);
    let mut engine = engine::engine(&context);
    engine.set_optimization_level(OptimizationLevel::None);
    let mut found = markers(script);
    match engine.compile(&script.source) {
        Ok(ast) => found.extend(Reader::new(&engine, &ast).read(&ast)),
        Err(e) => found.push(finding(Level::Error, "syntax", format!("the script does not parse: {}", e.0), e.1)),
    }
    if Path::new(&script.file).parent().is_some_and(|p| p.ends_with("scripts")) {
        found.extend(conventions(script));
    }
    found.sort_by(|a, b| (a.line, a.column, a.rule).cmp(&(b.line, b.column, b.rule)));
    found.dedup();
    Ok(found)
}

struct Deaf;

impl Console for Deaf {
    fn event(&self, _event: Event) {}
}

fn finding(level: Level, rule: &'static str, message: impl Into<String>, at: Position) -> Finding {
    Finding { level, rule, message: message.into(), line: at.line().unwrap_or(1), column: at.position().unwrap_or(1) }
}

/// Markers that open no cell, and code in cells of Markdown.
fn markers(script: &Script) -> Vec<Finding> {
    let at = |line: usize, column: usize| Position::new(line.min(u16::MAX.into()) as u16, column.min(u16::MAX.into()) as u16);
    let stray = stray_markers(&script.source).into_iter();
    let mut found: Vec<Finding> = stray.map(|m| finding(Level::Error, "marker", m.why, at(m.line, m.column))).collect();
    for cell in script.cells.iter().filter(|c| c.markdown) {
        for (i, line) in cell.text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with("//")) {
            let column = line.len() - line.trim_start().len() + 1;
            let message = "code in a cell of Markdown: open a new cell with `// %%` before it";
            found.push(finding(Level::Warning, "markdown", message, at(cell.first_line + i, column)));
        }
    }
    found
}

/// What every script in `scripts/` has.
fn conventions(script: &Script) -> Vec<Finding> {
    let missing = ["products", "plots"].into_iter().filter(|name| !script.source.contains(&format!("param(\"{name}\"")));
    let message = |name| format!("scripts in scripts/ take `-p {name}=DIR`: declare param(\"{name}\", ..) with path: \"out\"");
    missing.map(|name| finding(Level::Warning, "parameters", message(name), Position::new(1, 1))).collect()
}

/// A variable in scope.
struct Variable {
    name: ImmutableString,
    at: Position,
    read: bool,
}

/// Reads a script's syntax tree.
struct Reader {
    found: Vec<Finding>,
    /// Functions of the engine and of the script.
    functions: BTreeSet<String>,
    /// Variables of the blocks around the present place, innermost last.
    scopes: Vec<Vec<Variable>>,
    loops: usize,
    params: BTreeMap<String, Position>,
}

/// Names that the language itself calls.
const KEYWORDS: &[&str] = &[
    "Fn",
    "call",
    "curry",
    "is_shared",
    "is_def_var",
    "is_def_fn",
    "type_of",
    "print",
    "debug",
    "eval",
    "import",
    "to_string",
    "to_debug",
];

impl Reader {
    fn new(engine: &Engine, ast: &AST) -> Reader {
        let native = engine.gen_fn_signatures(true);
        let native = native.iter().filter_map(|s| s.split('(').next()).map(|s| s.trim().to_string());
        let own = ast.iter_functions().map(|f| f.name.to_string());
        let functions = native.chain(own).chain(KEYWORDS.iter().map(|k| k.to_string())).collect();
        Reader { found: vec![], functions, scopes: vec![], loops: 0, params: BTreeMap::new() }
    }

    fn read(mut self, ast: &AST) -> Vec<Finding> {
        self.block(ast.statements());
        for (parameters, statements) in functions(ast) {
            self.scopes.push(parameters.into_iter().map(|name| Variable { name, at: Position::NONE, read: true }).collect());
            self.open();
            statements.iter().for_each(|s| self.statement(s));
            self.close();
            self.scopes.pop();
        }
        self.found
    }

    fn say(&mut self, level: Level, rule: &'static str, message: impl Into<String>, at: Position) {
        self.found.push(finding(level, rule, message, at));
    }

    fn open(&mut self) {
        self.scopes.push(vec![]);
    }

    fn close(&mut self) {
        for v in self.scopes.pop().unwrap_or_default() {
            if !v.read && !v.name.starts_with('_') && !v.at.is_none() {
                self.say(Level::Warning, "unused", format!("`{}` is never read; a name that begins with `_` says so", v.name), v.at);
            }
        }
    }

    fn define(&mut self, name: &ImmutableString, at: Position) {
        if let Some(first) = self.scopes.iter().flatten().find(|v| v.name == *name) {
            let place = first.at.line().map_or("the parameter of the function".to_string(), |line| format!("that of line {line}"));
            self.say(Level::Warning, "shadowed", format!("`{name}` hides {place}"), at);
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(Variable { name: name.clone(), at, read: false });
        }
    }

    fn mark_read(&mut self, name: &str) {
        if let Some(v) = self.scopes.iter_mut().rev().flat_map(|s| s.iter_mut().rev()).find(|v| v.name == name) {
            v.read = true;
        }
    }

    fn block(&mut self, statements: &[Stmt]) {
        self.open();
        statements.iter().for_each(|s| self.statement(s));
        self.close();
    }

    fn body(&mut self, block: &StmtBlock) {
        self.block(block.statements());
    }

    fn in_loop(&mut self, block: &StmtBlock) {
        self.loops += 1;
        self.body(block);
        self.loops -= 1;
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::If(flow, _) => {
                self.expression(&flow.expr);
                self.body(&flow.body);
                self.body(&flow.branch);
            }
            Stmt::Switch(parts, _) => {
                self.expression(&parts.0);
                parts.1.expressions.iter().for_each(|case| {
                    self.expression(&case.lhs);
                    self.expression(&case.rhs);
                });
            }
            Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                self.expression(&flow.expr);
                self.in_loop(&flow.body);
            }
            Stmt::For(parts, _) => {
                self.expression(&parts.2.expr);
                self.open();
                self.define(&parts.0.name, parts.0.pos);
                if let Some(counter) = &parts.1 {
                    self.define(&counter.name, counter.pos);
                }
                self.in_loop(&parts.2.body);
                self.close();
            }
            Stmt::Var(parts, ..) => {
                self.expression(&parts.1);
                self.define(&parts.0.name, parts.0.pos);
                // to ask for it is to say where record and report go
                if declares(&parts.1, "plots") {
                    self.mark_read(&parts.0.name);
                }
            }
            Stmt::Assignment(parts) => {
                self.expression(&parts.1.rhs);
                if parts.0.is_op_assignment() || !matches!(parts.1.lhs, Expr::Variable(..)) {
                    self.expression(&parts.1.lhs);
                }
            }
            Stmt::FnCall(call, at) => self.call(call, None, *at),
            Stmt::Block(block) => self.body(block),
            Stmt::TryCatch(flow, _) => {
                self.body(&flow.body);
                self.open();
                if let Expr::Variable(v, ..) = &flow.expr {
                    self.define(&v.1, Position::NONE);
                }
                self.body(&flow.branch);
                self.close();
            }
            Stmt::Expr(e) => self.expression(e),
            Stmt::BreakLoop(Some(e), ..) | Stmt::Return(Some(e), ..) => self.expression(e),
            Stmt::Import(parts, _) => self.expression(&parts.0),
            Stmt::Export(parts, _) => self.mark_read(&parts.0.name),
            _ => {}
        }
    }

    fn expression(&mut self, e: &Expr) {
        match e {
            Expr::Variable(v, ..) => self.mark_read(&v.1),
            Expr::InterpolatedString(items, _) | Expr::Array(items, _) => items.iter().for_each(|e| self.expression(e)),
            Expr::Map(parts, _) => parts.0.iter().for_each(|(_, e)| self.expression(e)),
            Expr::And(items, _) | Expr::Or(items, _) | Expr::Coalesce(items, _) => items.iter().for_each(|e| self.expression(e)),
            Expr::Stmt(block) => self.body(block),
            Expr::FnCall(call, at) => self.call(call, None, *at),
            Expr::Dot(parts, ..) => {
                self.expression(&parts.lhs);
                self.chained(&parts.lhs, &parts.rhs);
            }
            Expr::Index(parts, ..) => {
                self.expression(&parts.lhs);
                self.expression(&parts.rhs);
            }
            _ => {}
        }
    }

    /// What follows a dot.
    fn chained(&mut self, object: &Expr, rest: &Expr) {
        match rest {
            Expr::MethodCall(call, at) => self.call(call, Some(object), *at),
            Expr::Dot(parts, ..) => {
                self.chained(object, &parts.lhs);
                self.chained(&parts.lhs, &parts.rhs);
            }
            Expr::Index(parts, ..) => {
                self.chained(object, &parts.lhs);
                self.expression(&parts.rhs);
            }
            other => self.expression(other),
        }
    }

    fn call(&mut self, call: &FnCallExpr, object: Option<&Expr>, at: Position) {
        call.args.iter().for_each(|e| self.expression(e));
        if !call.namespace.is_empty() || call.op_token.is_some() {
            return;
        }
        let args: Vec<&Expr> = object.into_iter().chain(call.args.iter()).collect();
        match catalogue::all().find(|v| v.name == call.name.as_str()) {
            Some(verb) => self.verb(verb, &args, at),
            None if !self.functions.contains(call.name.as_str()) => self.unknown(&call.name, at),
            None if call.name == "timestamp" => {
                self.say(Level::Warning, "clock", "`timestamp` gives another value in every run", at);
            }
            None => {}
        }
    }

    fn unknown(&mut self, name: &str, at: Position) {
        let near = nearest(name, catalogue::all().map(|v| v.name).chain(self.functions.iter().map(String::as_str)));
        let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        self.say(Level::Error, "unknown", format!("there is no function `{name}`{near}"), at);
    }

    fn verb(&mut self, verb: &Verb, args: &[&Expr], at: Position) {
        let most = verb.inputs.len() + usize::from(verb.takes_options());
        if args.len() < verb.n_required() || args.len() > most {
            let n = args.len();
            let message =
                format!("`{}` cannot be called with {n} argument{}: {}", verb.name, if n == 1 { "" } else { "s" }, verb.signature());
            self.say(Level::Error, "arguments", message, at);
        }
        if args.len() > verb.n_required() {
            args.last().into_iter().for_each(|last| self.options(verb, last));
        }
        if self.loops > 0 {
            self.same_file(verb, args, at);
        }
        if let ("param", Some(Expr::StringConstant(name, at))) = (verb.name, args.first()) {
            if let Some(first) = self.params.insert(name.to_string(), *at) {
                let line = first.line().unwrap_or(0);
                self.say(Level::Error, "parameters", format!("the parameter `{name}` is declared twice, first in line {line}"), *at);
            }
        }
    }

    /// Names in a literal map of options, also where it is added to another map.
    fn options(&mut self, verb: &Verb, e: &Expr) {
        let names: Vec<(String, Position)> = match e {
            Expr::Map(parts, _) => parts.0.iter().map(|(name, _)| (name.name.to_string(), name.pos)).collect(),
            Expr::FnCall(sum, _) if sum.name == "+" => return sum.args.iter().for_each(|e| self.options(verb, e)),
            _ => return,
        };
        // a map may also be an input, for example the offset of `shift`
        if !verb.takes_options() {
            return;
        }
        let own: Vec<Param> = verb.options.concat();
        for (name, at) in names {
            if own.iter().any(|p| p.name == name) || (name == OVERWRITE && verb.effects.writes_files()) {
                continue;
            }
            let near = nearest(&name, own.iter().map(|p| p.name)).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            self.say(Level::Error, "options", format!("`{}` has no option `{name}`{near}", verb.name), at);
        }
    }

    /// A step in a loop that writes to one place: each pass undoes the one before, and none is ever done for good.
    fn same_file(&mut self, verb: &Verb, args: &[&Expr], at: Position) {
        let outputs = verb.inputs.iter().zip(args).filter(|(i, _)| i.kind == InputKind::FileOut);
        let constant = outputs.filter_map(|(_, e)| if let Expr::StringConstant(path, _) = e { Some(path.to_string()) } else { None });
        for path in constant.collect::<Vec<_>>() {
            let message = format!("every pass of the loop writes {path}: put what changes into its name, as in `${{name}}.png`");
            self.say(Level::Warning, "loop", message, at);
        }
    }
}

/// True for `param("name", ..)`.
fn declares(e: &Expr, name: &str) -> bool {
    let Expr::FnCall(call, _) = e else { return false };
    call.name == "param" && matches!(call.args.first(), Some(Expr::StringConstant(text, _)) if text == name)
}

/// Parameters and statements of the script's functions. A statement belongs to the smallest body around it.
fn functions(ast: &AST) -> Vec<(Vec<ImmutableString>, Vec<Stmt>)> {
    let defs: Vec<_> = ast.shared_lib().iter_script_fn_info().map(|(.., def)| def.clone()).collect();
    let mut bodies: Vec<_> =
        defs.iter().map(|d| ((d.body.start_position(), d.body.end_position()), d.params.to_vec(), Vec::<Stmt>::new())).collect();
    bodies.sort_by_key(|((start, end), ..)| (*start, std::cmp::Reverse(*end)));
    let (mut skipped, n_main) = (0, ast.statements().len());
    ast.walk(&mut |path| {
        let [ASTNode::Stmt(statement)] = path else { return true };
        if skipped < n_main {
            skipped += 1;
            return true;
        }
        let at = statement.position();
        if let Some((.., own)) = bodies.iter_mut().rev().find(|((start, end), ..)| (*start..=*end).contains(&at)) {
            own.push((*statement).clone());
        }
        true
    });
    bodies.into_iter().map(|(_, parameters, statements)| (parameters, statements)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        lint(&Script::new("test.rhai", source), dir.path()).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_clean_script_has_no_findings() {
        let source = "// %% One\nlet a = param(\"a\", 1);\nfn f(x) { let y = x + 1; y }\n// %% [markdown]\n// text\n\n// %% Two\n\
                      let list = [1, 2].map(|v| v + a);\nfor i in list { print(`${f(i)}`); }\nlet n = 0;\nn += 1;\nprint(n);\n\
                      try { f(1) } catch (e) { print(e) }\nlet all = if n > 0 { list } else { [] };\nprint(all.len());";
        assert_eq!(found(source), Vec::<String>::new());
    }

    #[test]
    fn the_built_in_scripts_are_clean() {
        for name in super::super::builtin::names() {
            assert_eq!(found(super::super::builtin::script(name).unwrap()), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_marker_that_opens_no_cell_is_an_error() {
        let e = found(
            "let s = `\n// %% in text`;\nprint(s);\n  // %% indented\n/*\n// %% in a comment\n*/\nif true {\n// %% in a block\n}\n//%% close",
        );
        let rules: Vec<&str> = e.iter().map(|l| l.split(':').next().unwrap()).collect();
        assert_eq!(rules, ["2", "4", "6", "9", "11"], "{e:#?}");
        assert!(e.iter().all(|l| l.contains("error [marker]")));
    }

    #[test]
    fn variables_that_are_unused_or_hide_others_are_named() {
        assert_eq!(
            found("let a = 1;\nlet b = 2;\nfn f(x) { let x = 2; x }\nif true { let b = 3; print(b); }\nprint(f(b));\nlet _c = 1;"),
            [
                "1:5: warning [unused]: `a` is never read; a name that begins with `_` says so",
                "3:15: warning [shadowed]: `x` hides the parameter of the function",
                "4:15: warning [shadowed]: `b` hides that of line 2",
            ]
        );
    }

    #[test]
    fn unknown_verbs_options_and_arguments_are_errors() {
        assert_eq!(
            found(
                "let f = find_ofset(\"a\", \"b\");\nprint(f);\nfind_offset(\"a\", \"b\", #{ spv: \"0\" });\nassert(true);\nparam(\"p\", 1);\nparam(\"p\", 2);"
            ),
            [
                "1:9: error [unknown]: there is no function `find_ofset`; did you mean `find_offset`?",
                "3:26: error [options]: `find_offset` has no option `spv`; did you mean `spw`?",
                "4:1: error [arguments]: `assert` cannot be called with 1 argument: assert(condition, message)",
                "6:7: error [parameters]: the parameter `p` is declared twice, first in line 5",
            ]
        );
    }

    #[test]
    fn a_loop_that_writes_one_file_over_and_over_is_named() {
        let e = found("for i in [1, 2] { simulate(\"demo\", #{ seed: i }); simulate(`demo${i}`, #{ seed: i }); }");
        assert_eq!(e, ["1:19: warning [loop]: every pass of the loop writes demo: put what changes into its name, as in `${name}.png`"]);
    }

    #[test]
    fn the_clock_and_text_that_does_not_parse_are_named() {
        assert!(found("print(timestamp().elapsed);")[0].contains("warning [clock]"));
        assert!(found("let x = ;")[0].starts_with("1:9: error [syntax]"));
    }
}
