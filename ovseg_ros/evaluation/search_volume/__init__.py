"""How well rays beyond depth range narrow down where a search has to look (RayFronts' search volume)."""
