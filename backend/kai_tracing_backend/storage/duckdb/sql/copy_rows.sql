INSERT INTO compacting./* table */
SELECT * FROM /* file */./* table */ WHERE rowid BETWEEN $first AND $last
