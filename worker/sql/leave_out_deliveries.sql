-- Marks deliveries that can make no difference to their row any more.
UPDATE cdr.deliveries AS known SET superseded = true
FROM unnest(%(delivery_ids)s::uuid[], %(delivery_places)s::integer[]) AS gone (delivery_id, delivery_place)
WHERE
    known.identity = %(identity)s
    AND known.delivery_id = gone.delivery_id
    AND known.delivery_place = gone.delivery_place
