//! An item of the store, and the catalog that counts items.

use super::given;
use crate::tests::scene::program;
use crate::{
    Catalog, CatalogCommand, CatalogEvent, ItemAdded, ItemId, ItemPublished, ItemPutBack,
    ItemTaken, ItemTerms, MAX_ITEMS, RedemptionId, Refusal, StoreItem, StoreItemCommand,
    StoreItemEvent, StoreItemId,
};

fn id() -> StoreItemId {
    StoreItemId { program_id: program("spring"), item_id: ItemId::parse("mug").unwrap() }
}

fn redemption_id() -> RedemptionId {
    RedemptionId::parse("order-1").unwrap()
}

fn terms(stock: Option<u32>) -> ItemTerms {
    ItemTerms {
        name: "A mug".into(),
        description: None,
        cost_minor: 500,
        stock,
        per_person_limit: None,
        from_tier: None,
        is_available: true,
    }
}

fn published(version: u32, terms: ItemTerms) -> StoreItemEvent {
    ItemPublished { version, terms }.into()
}

fn taken() -> StoreItemEvent {
    ItemTaken { redemption_id: redemption_id() }.into()
}

fn put_back() -> StoreItemEvent {
    ItemPutBack { redemption_id: redemption_id() }.into()
}

fn publish(terms: ItemTerms) -> StoreItemCommand {
    StoreItemCommand::Publish { id: id(), terms }
}

fn take() -> StoreItemCommand {
    StoreItemCommand::Take { id: id(), redemption_id: redemption_id() }
}

#[test]
fn is_published_in_versions_and_the_same_again_is_none() {
    given::<StoreItem>([])
        .when(publish(terms(Some(2))))
        .then_expect_events(vec![published(1, terms(Some(2)))]);
    given::<StoreItem>([published(1, terms(Some(2)))])
        .when(publish(terms(Some(2))))
        .then_expect_events(vec![]);
    given::<StoreItem>([published(1, terms(Some(2)))])
        .when(publish(terms(None)))
        .then_expect_events(vec![published(2, terms(None))]);
}

#[test]
fn is_taken_as_often_as_there_are_pieces() {
    let one = published(1, terms(Some(1)));
    given::<StoreItem>([one.clone()]).when(take()).then_expect_events(vec![taken()]);
    given::<StoreItem>([one.clone(), taken()])
        .when(take())
        .then_expect_error(Refusal::OutOfStock { id: id(), stock: 1 });
    given::<StoreItem>([one, taken(), put_back()]).when(take()).then_expect_events(vec![taken()]);
    let none = published(1, terms(Some(0)));
    given::<StoreItem>([none])
        .when(take())
        .then_expect_error(Refusal::OutOfStock { id: id(), stock: 0 });
    let many = [published(1, terms(None)), taken(), taken()];
    given::<StoreItem>(many).when(take()).then_expect_events(vec![taken()]);
}

#[test]
fn that_is_unknown_or_not_available_is_not_taken() {
    given::<StoreItem>([]).when(take()).then_expect_error(Refusal::ItemNotFound(id()));
    let hidden = ItemTerms { is_available: false, ..terms(None) };
    given::<StoreItem>([published(1, hidden)])
        .when(take())
        .then_expect_error(Refusal::ItemNotAvailable(id()));
}

#[test]
fn never_has_fewer_pieces_than_are_taken() {
    let taken_twice = || [published(1, terms(Some(3))), taken(), taken()];
    given::<StoreItem>(taken_twice())
        .when(publish(terms(Some(1))))
        .then_expect_error(Refusal::StockBelowTaken { id: id(), taken: 2 });
    given::<StoreItem>(taken_twice())
        .when(publish(terms(Some(2))))
        .then_expect_events(vec![published(2, terms(Some(2)))]);
}

#[test]
fn is_one_of_a_bounded_number_in_its_catalog() {
    let add = || CatalogCommand::Add { id: id() };
    let added = || CatalogEvent::from(ItemAdded { item_id: id().item_id });
    let full = |count: u32| (0..count).map(|_| added());
    given::<Catalog>(full(MAX_ITEMS - 1)).when(add()).then_expect_events(vec![added()]);
    let program_id = program("spring");
    given::<Catalog>(full(MAX_ITEMS))
        .when(add())
        .then_expect_error(Refusal::TooManyItems { program_id, limit: MAX_ITEMS });
}

#[test]
fn has_an_id_that_is_split_at_its_first_slash() {
    let text = "spring/gid://shop/Product/7";
    let id = StoreItemId::parse(text).unwrap();
    assert_eq!((id.program_id.as_str(), id.item_id.as_str()), ("spring", "gid://shop/Product/7"));
    assert_eq!(id.to_string(), text);
    for text in ["", "spring", "/mug", "spring/", "spring/a b"] {
        assert_eq!(StoreItemId::parse(text), None, "{text}");
    }
}
