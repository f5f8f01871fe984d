"""The ledger as an archive of Parquet files, one folder a day, for any engine that reads them."""
