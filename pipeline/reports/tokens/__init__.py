"""Kept tokens on the frames of videos: a gallery for the run report, a page for one view."""

from pipeline.reports.tokens.gallery import GalleryItem, make_gallery

__all__ = ["GalleryItem", "make_gallery"]
