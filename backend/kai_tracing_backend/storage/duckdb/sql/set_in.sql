FROM /* of */ SEMI JOIN /* related */ USING (trace, id)
