	B
neighboursJ