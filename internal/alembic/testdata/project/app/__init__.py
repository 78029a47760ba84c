"""The models of the tests' migrations at 0003."""
import sqlalchemy as sa

print("[app] what an application may print at its start")
metadata = sa.MetaData()
sa.Table("etfs", metadata, sa.Column("id", sa.String, primary_key=True), sa.Column("note", sa.String))
sa.Table("prices", metadata, sa.Column("id", sa.Integer, primary_key=True))
