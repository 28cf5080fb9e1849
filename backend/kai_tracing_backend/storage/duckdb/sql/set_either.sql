FROM /* left */ UNION ALL FROM /* right */
