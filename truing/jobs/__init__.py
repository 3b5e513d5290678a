"""One function a verb: values in, values out."""
