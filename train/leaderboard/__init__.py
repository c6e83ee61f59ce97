"""Every run of a folder on one page, grouped by what can be compared; needs the extra `report`."""
