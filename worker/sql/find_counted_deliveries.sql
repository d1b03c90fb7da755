-- Of these deliveries, those that are kept already, however long ago they came.
SELECT identity, delivery_id::text, delivery_place
FROM cdr.deliveries
JOIN unnest(%(identities)s::bytea[], %(delivery_ids)s::uuid[], %(delivery_places)s::integer[])
    AS arrived (identity, delivery_id, delivery_place) USING (identity, delivery_id, delivery_place)
