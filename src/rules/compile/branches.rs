//! Lowering of `switch` and `for`.

use std::collections::HashMap;

use rhai::{Dynamic, Expr, Position, SwitchCasesCollection};

use super::lower::{Binding, Lowered, Lowering, Thing, constant, constants, kept, place};
use super::node::{Case, Constant, For, Items, Node, Switch};

impl Lowering<'_> {
    pub(super) fn each(
        &mut self,
        parts: &(rhai::Ident, Option<rhai::Ident>, rhai::FlowControl),
        at: Position,
    ) -> Lowered<Node> {
        let (item, counter, flow) = parts;
        let items = match self.thing(&flow.expr)? {
            Thing::List(values) => Items::Constants(constants(&values, flow.expr.start_position())?.into()),
            Thing::Range(ends, inclusive) => Items::Range(ends, inclusive),
            Thing::Node(_) | Thing::Object(..) | Thing::Risk(_) | Thing::Map(_) => {
                return Err(kept(
                    "`for` over something that is no constant list or range",
                    flow.expr.start_position(),
                ));
            }
        };
        let outer = self.names.len();
        let item_slot = self.slot();
        self.bind(&item.name, Binding::Local(item_slot));
        let counter_slot = counter.as_ref().map(|counter| {
            let slot = self.slot();
            self.bind(&counter.name, Binding::Local(slot));
            slot
        });
        let body = self.block(flow.body.statements())?;
        self.names.truncate(outer);
        let (item, counter) = (item_slot, counter_slot);
        Ok(Node::For(Box::new(For { item, counter, items, body, place: place(at) })))
    }

    pub(super) fn switch(
        &mut self,
        subject: &Expr,
        cases: &SwitchCasesCollection,
        at: Position,
    ) -> Lowered<Node> {
        let mut switch = Switch {
            subject: self.node(subject)?,
            cases: Box::default(),
            texts: HashMap::default(),
            ints: HashMap::default(),
            bools: [Box::default(), Box::default()],
            ranges: Box::default(),
            default: cases.def_case,
        };
        let lowered: Lowered<Vec<Case>> = cases
            .expressions
            .iter()
            .map(|case| {
                let always = matches!(case.lhs, Expr::BoolConstant(true, _));
                let condition = if always { None } else { Some(self.node(&case.lhs)?) };
                Ok(Case { condition, then: self.node(&case.rhs)? })
            })
            .collect();
        switch.cases = lowered?.into();
        // The tree keeps a range among the exact values too, where no value can ever meet it.
        let is_range = |value: &Dynamic| {
            value.is::<std::ops::Range<i64>>() || value.is::<std::ops::RangeInclusive<i64>>()
        };
        for list in cases.cases.values().filter(|list| !is_range(&list.value)) {
            let blocks: Box<[usize]> = list.blocks.iter().copied().collect();
            match constant(&list.value) {
                Some(Constant::Text(text)) => drop(switch.texts.insert(text, blocks)),
                Some(Constant::Int(number)) => drop(switch.ints.insert(number, blocks)),
                Some(Constant::Bool(value)) => {
                    if let Some(place) = switch.bools.get_mut(usize::from(value)) {
                        *place = blocks;
                    }
                }
                Some(Constant::Unit | Constant::Float(_)) | None => return Err(kept("this `switch`", at)),
            }
        }
        let range = |case: &rhai::RangeCase| match case {
            rhai::RangeCase::ExclusiveInt(range, at) => (range.start, range.end, false, *at),
            rhai::RangeCase::InclusiveInt(range, at) => (*range.start(), *range.end(), true, *at),
        };
        switch.ranges = cases.ranges.iter().map(range).collect();
        Ok(Node::Switch(Box::new(switch)))
    }
}
