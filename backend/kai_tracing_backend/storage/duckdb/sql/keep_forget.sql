DELETE FROM /* table */ WHERE minute < $minute
