"""Updates of the firmware: finding, downloading, deciding, telling; and licences."""
