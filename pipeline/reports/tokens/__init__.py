"""What the model looked at: frames with the tokens that each stage dropped masked."""

from pipeline.reports.tokens.exhibits import Exhibit, gallery

__all__ = ["Exhibit", "gallery"]
