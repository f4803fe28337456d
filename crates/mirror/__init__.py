"""Mirror of crates.io: a pull-through cache of upstream registries, with policies and overrides by staff.

The modules in their order. Each imports only modules of the lines above its own:

    models  index_lines  resolving  licenses  concurrency  metrics
    upstream_health
    download_counts  upstreams  advisories  overrides  summaries  crate_facts
    incidents  shared_names  descriptions
    examination  index_cache  policies
    crate_cache  changed_checksums
    serving  maintenance
    downloads  stored_crates
    catalogue  overview  prefetch  transfer
    listing  presentation  front_page  admin_pages  admin_overrides
    admin  management  section
    apps

Caches know neither policies nor overrides, and policies know no cache. `serving` and `downloads` bring both together.
"""
