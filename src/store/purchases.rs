//! Which purchases a buyer has made: from the table that is computed from the log, and from the log after it.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::StoreError;
use domain::{Lag, PurchaseCursor, PurchaseId, PurchasePage, PurchaseSearch};

/// The purchases on the first page. Nearly all who look for a purchase find it there.
const FIRST_PAGE: i64 = 4;
/// The purchases on a later page.
const LATER_PAGE: i64 = 100;

/// How many events after those in the table are searched. Reading so many takes some tenths of a second, for which the
/// log may be locked.
const MOST_SEARCHED: i64 = 50_000;

/// A part of the log: the events after a position, through another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The position before the first event.
    pub after: i64,
    /// The position of the last event.
    pub through: i64,
}

/// Finds purchases of buyers, one page for each search and in their order. All that are in the log when the statement
/// begins are found, but for those that were recorded, or may earn again, in the part that the caller knows. `table` is
/// that of the read model; without it the log is searched.
///
/// # Errors
/// [`StoreError`] if the database cannot be read.
pub async fn purchases_of(
    connection: &mut PgConnection,
    table: Option<&str>,
    known: Option<Span>,
    searches: &[PurchaseSearch],
) -> Result<Vec<Result<PurchasePage, Lag>>, StoreError> {
    let buyers: Vec<&str> = searches.iter().map(|search| search.buyer.as_str()).collect();
    let before = |search: &PurchaseSearch| search.before.map_or(i64::MAX, |cursor| cursor.0);
    let befores: Vec<i64> = searches.iter().map(before).collect();
    let sizes: Vec<i64> = searches.iter().map(page_size).collect();
    let may_earn: Vec<bool> = searches.iter().map(|search| search.may_earn).collect();
    let known = known.unwrap_or(Span { after: i64::MAX, through: i64::MAX });
    let rows = sqlx::query(&statement(table))
        .bind(buyers)
        .bind(befores)
        .bind(sizes)
        .bind(table)
        .bind(MOST_SEARCHED)
        .bind(known.after)
        .bind(known.through)
        .bind(may_earn)
        .fetch_all(connection)
        .await?;
    let mut rows = rows.into_iter().peekable();
    let mut pages = Vec::with_capacity(searches.len());
    for (index, search) in searches.iter().enumerate() {
        let ordinal = i64::try_from(index).unwrap_or(i64::MAX) + 1;
        let is_own = |row: &PgRow| row.try_get::<i64, _>("ordinal").is_ok_and(|of| of == ordinal);
        let own: Vec<PgRow> = std::iter::from_fn(|| rows.next_if(is_own)).collect();
        pages.push(page(&own, page_size(search))?);
    }
    Ok(pages)
}

fn page_size(search: &PurchaseSearch) -> i64 {
    if search.before.is_none() { FIRST_PAGE } else { LATER_PAGE }
}

/// The answer from the rows for one buyer. There is at least one, without a purchase if there are no purchases.
fn page(rows: &[PgRow], size: i64) -> Result<Result<PurchasePage, Lag>, StoreError> {
    let mut page = PurchasePage::default();
    let mut last = None;
    for row in rows {
        if row.try_get::<i64, _>("searched")? > MOST_SEARCHED {
            let lag = Lag { reached: row.try_get("reached")?, head: row.try_get("head")? };
            return Ok(Err(lag));
        }
        last = row.try_get("position")?;
        // The table is searched by a hash, which several buyers can have.
        if row.try_get::<Option<bool>, _>("is_own")? == Some(true) {
            let purchase_id = PurchaseId::parse(row.try_get("purchase_id")?)
                .map_err(|error| StoreError::Nonsense(format!("the id of a purchase {error}")))?;
            page.purchases.push(purchase_id);
        }
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= size);
    page.next = last.filter(|_| is_full).map(PurchaseCursor);
    Ok(Ok(page))
}

/// The table and its checkpoint are read under one snapshot, so that nothing is left out between them and the log.
/// What the table has as earning nothing can have begun to earn since by two events only.
fn statement(table: Option<&str>) -> String {
    let in_table = table.map_or_else(String::new, |table| {
        format!(
            "union all (\
                 select known.last_position, events.aggregate_id, \
                     events.payload ->> 'buyer_user_id' = asked.buyer \
                 from (\
                     select last_position from (\
                         (\
                             select last_position from {table} \
                             where buyer_hash = hashtextextended(asked.buyer, 0) \
                                 and not earns_nothing and last_position < asked.before \
                             order by last_position desc limit asked.size\
                         ) union all (\
                             select last_position from {table} \
                             where not asked.may_earn \
                                 and buyer_hash = hashtextextended(asked.buyer, 0) \
                                 and earns_nothing and last_position < asked.before \
                             order by last_position desc limit asked.size\
                         )\
                     ) as of_both order by last_position desc limit asked.size\
                 ) as known \
                 cross join lateral (\
                     select aggregate_id, payload from events \
                     where events.position = known.last_position limit 1\
                 ) as events\
             )"
        )
    });
    format!(
        "with reach as materialized (\
             select reached, head, \
                 greatest(0, least(head, $6) - reached) \
                     + greatest(0, head - greatest(reached, $7)) as searched \
             from (\
                 select \
                     coalesce((select max(position) from checkpoints where copy = $4), 0) as reached, \
                     coalesce((select position from events order by position desc limit 1), 0) as head\
             ) as ends\
         ), tail as materialized (\
             select own.position, late.aggregate_id, own.payload ->> 'buyer_user_id' as buyer \
             from reach \
             cross join lateral (\
                 (\
                     select position, aggregate_id, event_type, payload from events \
                     where events.position > reach.reached and events.position <= $6 \
                         and reach.searched <= $5 \
                     order by events.position limit $5\
                 ) union all (\
                     select position, aggregate_id, event_type, payload from events \
                     where events.position > greatest(reach.reached, $7) and reach.searched <= $5 \
                     order by events.position limit $5\
                 )\
             ) as late \
             cross join lateral (\
                 select late.position, late.payload where late.event_type = 'PurchaseRecorded' \
                 union all \
                 select position, payload from events \
                 where late.event_type in ('PurchaseMadeUp', 'RefundCancelled') \
                     and aggregate_type = 'Purchase' and aggregate_id = late.aggregate_id and sequence = 1\
             ) as own \
             where late.event_type in ('PurchaseRecorded', 'PurchaseMadeUp', 'RefundCancelled') \
                 and own.payload ->> 'buyer_user_id' = any($1::text[])\
         ) \
         select asked.ordinal, reach.reached, reach.head, reach.searched, \
             found.position, found.purchase_id, found.is_own \
         from reach \
         cross join unnest($1::text[], $2::bigint[], $3::bigint[], $8::boolean[]) \
             with ordinality as asked(buyer, before, size, may_earn, ordinal) \
         left join lateral (\
             select * from (\
                 (\
                     select tail.position, tail.aggregate_id as purchase_id, true as is_own \
                     from tail \
                     where tail.buyer = asked.buyer and tail.position < asked.before \
                     order by tail.position desc limit asked.size\
                 ) {in_table}\
             ) as near \
             order by near.position desc limit asked.size\
         ) as found on true \
         order by asked.ordinal, found.position desc"
    )
}
